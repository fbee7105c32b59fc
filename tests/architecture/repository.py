"""Where things are, for the architecture tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(
    path.parent for path in [*ROOT.glob("libs/*/cdp_*/__init__.py"), *ROOT.glob("services/*/cdp_*/__init__.py")]
)
MODULES = sorted(module for package in PACKAGES for module in package.rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))
