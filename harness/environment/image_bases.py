"""The two images that everything else stands on, made here where no image registry answers.

`debian:bookworm-slim` comes from the machine's own Debian mirror by debootstrap, Toxiproxy from its Go module. Takes a
Docker API client; leaves a tagged image that carries `readiness.build`. Every step has a limit, nothing else is left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment.image_context import BuildContext, ContextFile
from harness.errors import EngineError

if TYPE_CHECKING:
    import docker

DEBIAN = "debian:bookworm-slim"
SUITE = "bookworm"
TOXIPROXY_VERSION = "2.12.0"
TOXIPROXY = f"ghcr.io/shopify/toxiproxy:{TOXIPROXY_VERSION}"
TOXIPROXY_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}"
OLDEST_GO = (1, 16)
SELF_UPDATING_GO = (1, 21)
"""From this version on, Go fetches the newer toolchain that a module asks for by itself."""
TOOLCHAIN = "v0.0.1-go1.24.4"
BUILD_LABEL = "readiness.build"

DEBOOTSTRAP_LIMIT_S = 900
GO_LIMIT_S = 600
IMPORT_LIMIT_S = 300

Progress = Callable[[str], None]

# What Debian's own slim image does as well: services must not start while they are installed, and caches are no use.
SLIM_FILES = {
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    "etc/apt/apt.conf.d/docker-clean": (
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
        'APT::Install-Recommends "false";\nAPT::Install-Suggests "false";\nAcquire::Languages "none";\n'
    ),
    "etc/dpkg/dpkg.cfg.d/docker-slim": (
        "force-unsafe-io\npath-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\n"
        "path-include /usr/share/doc/*/copyright\n"
    ),
}
# apt settings of the machine without which its mirror may not be reachable from a build.
MACHINE_APT_KEYS = re.compile(
    r"^Acquire::(?:https?::\S*(?:Proxy|CaInfo)|Check-Valid-Until|Check-Date)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Maker:
    """How one base is made here: what must be installed, how long it takes, and the function that does it."""

    describe: str
    expected_s: float
    obstacle: Callable[[], str | None]
    make: Callable[[docker.APIClient, Progress], None]


def debian_obstacle() -> str | None:
    """Why the base cannot be made here, or None."""
    if shutil.which("debootstrap", path=_admin_path()) is None:
        return "debootstrap is not installed (Debian and Ubuntu: apt-get install debootstrap)"
    return None if os.geteuid() == 0 else "debootstrap needs root"


def toxiproxy_obstacle() -> str | None:
    """Why Toxiproxy cannot be built here, or None."""
    go = shutil.which("go")
    wanted = ".".join(map(str, OLDEST_GO))
    if go is None:
        return f"Go is not installed (version {wanted} or newer)"
    if go_version(go) >= OLDEST_GO:
        return None
    return f"{go} is older than Go {wanted}"


def go_version(go: str) -> tuple[int, int]:
    """Major and minor version of a Go command; (0, 0) when it does not say."""
    try:
        answer = subprocess.run(
            [go, "version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def make_debian(client: docker.APIClient, progress: Progress) -> None:
    """`debian:bookworm-slim` from this machine's Debian mirror. Raises EngineError."""
    sources = debian_sources()
    mirror = first_mirror(sources)
    with tempfile.TemporaryDirectory(prefix="readiness-base-") as scratch:
        root = Path(scratch) / "root"
        progress(f"{DEBIAN}: debootstrap {SUITE} from this machine's Debian mirror")
        command = ["debootstrap", "--variant=minbase", SUITE, str(root), *([mirror] if mirror else [])]
        _run(command, DEBOOTSTRAP_LIMIT_S, f"making {DEBIAN} with debootstrap")
        _dress(root, sources)
        progress(f"{DEBIAN}: importing")
        _import_tree(client, root)


def make_toxiproxy(client: docker.APIClient, progress: Progress) -> None:
    """Toxiproxy's image from its Go module: same path and default command as upstream's. Raises EngineError."""
    from harness.environment.image_engine import run_build

    with tempfile.TemporaryDirectory(prefix="readiness-go-") as scratch:
        binary = Path(scratch) / "bin" / "server"
        binary.parent.mkdir()
        progress(f"{TOXIPROXY}: go install {TOXIPROXY_MODULE}")
        variables = {
            **{name: value for name, value in os.environ.items() if name != "GOROOT"},
            "CGO_ENABLED": "0",
            "GOBIN": str(binary.parent),
            "GOMODCACHE": f"{scratch}/mod",
            "GOCACHE": f"{scratch}/cache",
            "GOTOOLCHAIN": "auto",
            "GOFLAGS": "-modcacherw",
        }
        go = _new_enough_go(Path(scratch), variables, progress)
        version = f"-X github.com/Shopify/toxiproxy/v2.Version={TOXIPROXY_VERSION}"
        command = [
            go,
            "install",
            "-trimpath",
            "-ldflags",
            f"-s -w {version}",
            TOXIPROXY_MODULE,
        ]
        _run(command, GO_LIMIT_S, f"building {TOXIPROXY} from its Go module", variables)
        dockerfile = (
            "FROM scratch\nCOPY toxiproxy /toxiproxy\nEXPOSE 8474\n"
            'ENTRYPOINT ["/toxiproxy"]\nCMD ["-host=0.0.0.0"]\n'
        )
        files = (
            ContextFile("Dockerfile", dockerfile.encode(), executable=False),
            ContextFile("toxiproxy", binary.read_bytes(), executable=True),
        )
        context = BuildContext(files=files, dockerfile="Dockerfile", args=(), bases=())
        run_build(client, TOXIPROXY, context, f"go:{TOXIPROXY_MODULE}", progress)


def _new_enough_go(scratch: Path, variables: Mapping[str, str], progress: Progress) -> str:
    """This machine's Go, or where that is too old to update itself (Debian 12's is) a newer one from the module proxy.

    The toolchain is a Go module like any other, checked against the checksum database; it goes away with `scratch`.
    """
    go = shutil.which("go") or "go"
    if go_version(go) >= SELF_UPDATING_GO:
        return go
    platform = [_run([go, "env", name], 30, "asking Go", variables).strip() for name in ("GOOS", "GOARCH")]
    module = f"golang.org/toolchain@{TOOLCHAIN}.{'-'.join(platform)}"
    progress(f"{TOXIPROXY}: go mod download {module}")
    answer = _run(
        [go, "mod", "download", "-json", module], GO_LIMIT_S, f"fetching {module}", variables, scratch
    )
    folder = Path(json.loads(answer)["Dir"])
    for file in (*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")):
        file.chmod(0o755)
    return str(folder / "bin" / "go")


MAKERS: Mapping[str, Maker] = {
    DEBIAN: Maker(f"debootstrap {SUITE}", 40, debian_obstacle, make_debian),
    TOXIPROXY: Maker(f"go install {TOXIPROXY_MODULE}", 30, toxiproxy_obstacle, make_toxiproxy),
}


def debian_sources(apt: Path = Path("/etc/apt")) -> str:
    """The machine's apt sources for the base's suite, in deb822 form; other suites and vendors are left out.

    Empty where there are none (another release, another distribution): debootstrap's own default then applies.
    """
    stanzas: list[dict[str, str]] = []
    for file in sorted([*apt.glob("*.list"), *apt.glob("sources.list.d/*.list")]):
        stanzas.extend(_one_line_sources(file.read_text()))
    for file in sorted(apt.glob("sources.list.d/*.sources")):
        stanzas.extend(_deb822_sources(file.read_text()))
    ours = [
        stanza
        for stanza in stanzas
        if "deb" in stanza.get("Types", "").split()
        and all(re.fullmatch(rf"{SUITE}(-updates|-security)?", suite) for suite in stanza["Suites"].split())
        and stanza.get("Enabled", "yes") != "no"
    ]
    return "\n\n".join(
        "\n".join(
            f"{key}: {stanza[key]}" for key in ("Types", "URIs", "Suites", "Components") if key in stanza
        )
        for stanza in ours
    )


def first_mirror(sources: str) -> str | None:
    """The first address that serves the suite itself (not only its updates), or None."""
    for stanza in _deb822_sources(sources):
        if SUITE in stanza["Suites"].split():
            return stanza["URIs"].split()[0]
    return None


def _one_line_sources(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if match := re.match(r"\s*(deb)\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line):
            kind, uri, suite, components = match.groups()
            yield {"Types": kind, "URIs": uri, "Suites": suite, "Components": components.strip()}


def _deb822_sources(text: str) -> Iterator[dict[str, str]]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [
            line for line in paragraph.splitlines() if ":" in line and not line.startswith(("#", " ", "\t"))
        ]
        stanza = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if {"Types", "URIs", "Suites"} <= stanza.keys():
            yield stanza


def _dress(root: Path, sources: str) -> None:
    """Put the files of a slim image in place, and what apt needs to reach the same mirror as this machine."""
    for name, content in SLIM_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    if sources:
        (root / "etc/apt/sources.list").write_text("")
        (root / "etc/apt/sources.list.d").mkdir(exist_ok=True)
        (root / "etc/apt/sources.list.d/debian.sources").write_text(sources + "\n")
    settings = [line for line in _apt_settings() if MACHINE_APT_KEYS.match(line)]
    if settings:
        (root / "etc/apt/apt.conf.d/90machine").write_text("\n".join(settings) + "\n")
    for authorities in re.findall(r'CaInfo "([^"]+)"', "\n".join(settings), re.IGNORECASE):
        _copy_into(root, Path(authorities))
    if "https://" in sources:
        _copy_into(root, Path("/etc/ssl/certs/ca-certificates.crt"))


def _copy_into(root: Path, file: Path) -> None:
    if file.is_file():
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _apt_settings() -> list[str]:
    if shutil.which("apt-config") is None:
        return []
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=False)
    return dump.stdout.splitlines()


def _import_tree(client: docker.APIClient, root: Path) -> None:
    """Pipe the tree into `docker import`; no archive is written to disk."""
    repository, _, tag = DEBIAN.partition(":")
    skipped = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
    command: list[str | Path] = [
        "tar",
        "--create",
        "--numeric-owner",
        *(f"--exclude={path}" for path in skipped),
        "--directory",
        root,
        ".",
    ]
    with _process(command) as tar:
        assert tar.stdout is not None
        answer = client.import_image(
            src=tar.stdout,
            repository=repository,
            tag=tag,
            changes=[f"LABEL {BUILD_LABEL}=debootstrap:{SUITE}", 'CMD ["bash"]'],
            stream_src=True,
        )
        if tar.wait(timeout=30) != 0 or "errorDetail" in str(answer):
            raise EngineError(
                f"importing {DEBIAN} failed: {answer}", "see the engine's log; is its disk full?"
            )


@contextmanager
def _process(command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is gone when the block ends, at the latest after IMPORT_LIMIT_S."""
    import threading

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        limit = threading.Timer(IMPORT_LIMIT_S, child.kill)
        limit.start()
        try:
            yield child
        finally:
            limit.cancel()
            child.kill()


def _run(
    command: list[str],
    limit_s: float,
    doing: str,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run to the end, give its output; on failure or after `limit_s` raise EngineError with the last lines of it."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
            cwd=folder,
            env={**(variables or os.environ), "PATH": _admin_path()},
        )
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{doing} took longer than {limit_s:.0f} s", "is the mirror or proxy reachable?"
        ) from None
    except OSError as error:
        raise EngineError(f"{doing} could not start: {error}", f"install {command[0]!r}") from error
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.splitlines()[-12:])
        raise EngineError(
            f"{doing} failed with exit code {done.returncode}:\n    {tail}", "see the lines above"
        )
    return done.stdout


def _admin_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
