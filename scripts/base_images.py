"""Set-up's last stage: have the base images in the engine, one line a step.

base_images.py               get them: present, else pulled, else made here
base_images.py --lacks TOOL  exit 0 when an image would have to be made here and TOOL is missing for it
"""

from __future__ import annotations

import sys
import time

from harness.environment.image_bases import MAKERS
from harness.environment.images import ImageRequest, ensure_images, plan_images
from harness.errors import ReadinessError

NEEDED_FOR = {"debootstrap": "debootstrap", "go": "Go"}


def lacks(tool: str) -> bool:
    """True when the plan for some base image ends in "missing" because of this tool."""
    plans = plan_images([ImageRequest(reference) for reference in MAKERS])
    return any(
        plan.how == "missing" and f"{NEEDED_FOR[tool]} is not installed" in plan.reason for plan in plans
    )


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["--lacks"]:
            return 0 if lacks(arguments[1]) else 1
        started = time.monotonic()
        sources = ensure_images(
            [ImageRequest(reference) for reference in MAKERS],
            lambda line: print(f"[set-up] {line}", flush=True),
        )
        if any(source.how != "present" for source in sources.values()):
            print(f"[set-up] base images: {time.monotonic() - started:.1f} s", flush=True)
    except ReadinessError as error:
        print(f"[set-up] {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
