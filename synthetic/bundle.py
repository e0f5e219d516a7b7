"""The dataset bundle: a directory of Parquet tables and of what is known about them, named by digests.

Takes finished tables and evidence, writes them all or nothing; gives `DatasetBundle`, which reads nothing whose digest
does not fit. Layout: `tables/NAME.parquet`, `labels.parquet`, `privacy.json`, `quality.json`, `lineage.json` and
`manifest.json` with the digest of each of these; the bundle's own digest is the manifest's.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from harness.errors import DefinitionError, EngineError
from harness.model.history import Labels
from synthetic.evidence import Lineage, Privacy, Quality

FORMAT = 1
MANIFEST = "manifest.json"
_UNFINISHED = ".building-"
_REBUILD = "remove the folder and make it again: readiness data build"


@dataclass(frozen=True)
class DatasetBundle:
    """Synthetic tables with their labels, evidence and lineage. `digest` is `sha256:` of the manifest."""

    path: Path
    digest: str
    name: str
    files: Mapping[str, str]
    privacy: Privacy
    quality: Quality
    lineage: Lineage

    def tables(self) -> tuple[str, ...]:
        """Names, in order of definition."""
        return tuple(self.lineage.rows)

    def table(self, name: str) -> pa.Table:
        """Raises KeyError for an unknown table, DefinitionError when its file was altered since loading."""
        if name not in self.lineage.rows:
            raise KeyError(f"dataset {self.name!r} has no table {name!r}; it has: {', '.join(self.tables())}")
        return self._parquet(f"tables/{name}.parquet")

    def labels(self) -> Labels:
        """The truth, apart from the tables. Raises DefinitionError like `table`."""
        try:
            return Labels(self._parquet("labels.parquet"))
        except (KeyError, ValueError) as error:
            what = f"has other columns than {', '.join(Labels.schema.names)}"
            raise DefinitionError.at(self.path / "labels.parquet", what, _REBUILD) from error

    def _parquet(self, file: str) -> pa.Table:
        content = _read_checked(self.path, file, self.files[file])
        try:
            return pq.read_table(io.BytesIO(content))
        except pa.ArrowException as error:
            raise DefinitionError.at(self.path / file, "does not read as Parquet", _REBUILD) from error


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle."""

    name: str
    tables: Mapping[str, pa.Table]
    labels: Labels
    privacy: Privacy
    quality: Quality
    lineage: Lineage


def load(path: Path) -> DatasetBundle:
    """Open a bundle and check every digest. Raises DefinitionError when anything is missing, altered or added."""
    try:
        manifest = (path / MANIFEST).read_bytes()
        listed = json.loads(manifest)
        files = {str(name): str(digest) for name, digest in listed["files"].items()}
        name, version = str(listed["dataset"]), listed["format"]
    except OSError as error:
        raise DefinitionError.at(path, f"no dataset bundle: {error.strerror}", _REBUILD) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DefinitionError.at(path / MANIFEST, "the manifest does not read", _REBUILD) from error
    if version != FORMAT:
        raise DefinitionError.at(path, f"the bundle has format {version}, known is {FORMAT}", _REBUILD)
    there = {str(item.relative_to(path)) for item in path.rglob("*") if item.is_file()} - {MANIFEST}
    if strange := sorted(there - set(files)):
        raise DefinitionError.at(
            path, f"files that the manifest does not list: {', '.join(strange)}", _REBUILD
        )
    contents = {file: _read_checked(path, file, digest) for file, digest in files.items()}
    try:
        bundle = DatasetBundle(
            path=path,
            digest=_digest(manifest),
            name=name,
            files=files,
            privacy=Privacy.model_validate_json(contents["privacy.json"]),
            quality=Quality.model_validate_json(contents["quality.json"]),
            lineage=Lineage.model_validate_json(contents["lineage.json"]),
        )
    except (KeyError, ValidationError) as error:
        raise DefinitionError.at(path, "the bundle's evidence does not read", _REBUILD) from error
    wanted = [*(f"tables/{table}.parquet" for table in bundle.tables()), "labels.parquet"]
    if absent := [file for file in wanted if file not in files]:
        raise DefinitionError.at(path, f"the manifest does not list {', '.join(absent)}", _REBUILD)
    return bundle


def write(contents: Contents, target: Path) -> DatasetBundle:
    """Write a bundle into `target`, all or nothing. A bundle that is there already is replaced when it differs."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(target.parent)
        with _unfinished(target.parent) as folder:
            digest = _write_files(contents, folder)
            if not _placed(folder, target) and _manifest_digest(target) != digest:
                _replace(folder, target)
    except OSError as error:
        raise EngineError(
            f"writing the dataset bundle {target}: {error.strerror or error}",
            "free some space or make the folder writable ($READINESS_STATE_DIR moves it), then build again",
        ) from error
    return load(target)


def _write_files(contents: Contents, folder: Path) -> str:
    files: dict[str, bytes] = {
        **{f"tables/{name}.parquet": _parquet(table) for name, table in contents.tables.items()},
        "labels.parquet": _parquet(contents.labels.table),
        "privacy.json": _json(contents.privacy),
        "quality.json": _json(contents.quality),
        "lineage.json": _json(contents.lineage),
    }
    (folder / "tables").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    manifest = {
        "format": FORMAT,
        "dataset": contents.name,
        "files": {name: _digest(content) for name, content in sorted(files.items())},
    }
    content = (json.dumps(manifest, indent=2) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    return _digest(content)


def _placed(folder: Path, target: Path) -> bool:
    """Rename the folder where nothing stands yet; another build of the same bundle may be faster at any moment."""
    try:
        folder.rename(target)
    except OSError:
        if not target.exists():
            raise
        return False
    return True


def _replace(folder: Path, target: Path) -> None:
    """Rename over an older or damaged bundle, which comes back when this fails."""
    old = folder.with_name(f"{folder.name}-old")
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if _manifest_digest(target) is None:
            with contextlib.suppress(OSError):
                old.rename(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _unfinished(parent: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards unless it was renamed, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{os.getpid()}-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unfinished(parent: Path) -> None:
    """What builds left behind that were killed: their process is gone."""
    for folder in parent.glob(f"{_UNFINISHED}*"):
        pid = folder.name.removeprefix(_UNFINISHED).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _manifest_digest(path: Path) -> str | None:
    """Digest of an intact bundle's manifest, None when there is no such bundle."""
    try:
        return load(path).digest
    except DefinitionError:
        return None


def _read_checked(path: Path, file: str, digest: str) -> bytes:
    try:
        content = (path / file).read_bytes()
    except OSError as error:
        raise DefinitionError.at(path / file, f"part of the bundle: {error.strerror}", _REBUILD) from error
    if _digest(content) != digest:
        raise DefinitionError.at(path / file, "its digest is not the manifest's: it was altered", _REBUILD)
    return content


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _json(model: BaseModel) -> bytes:
    content: dict[str, Any] = model.model_dump(mode="json")
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
