#!/usr/bin/env bash
# Everything that must hold, from a bare checkout: makes its own environment, finds or installs
# Chromium, then lints, type-checks and runs every test. Usage: bash tests/run.sh [pytest options]
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

# --- Python ----------------------------------------------------------------------------------
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "Python 3.11 or newer is needed; name one with PYTHON=…" >&2; exit 2; }
venv=${GPT_MAGICS_TEST_VENV:-.venv-test}
if [ ! -x "$venv/bin/python" ]; then
  say "make $venv"
  "$python" -m venv "$venv" || {
    # Debian splits venv off; as root in a container we may install it.
    as_root apt-get update -qq && as_root apt-get install -y -qq python3-venv
    "$python" -m venv "$venv"
  }
fi
say "install the package and its test extra"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'

# --- Chromium --------------------------------------------------------------------------------
find_chromium() {
  local name
  for name in "${GPT_MAGICS_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    # Ubuntu's chromium-browser is a stub for a snap, which a container cannot run.
    if [ -n "$name" ] && command -v "$name" >/dev/null && "$name" --version >/dev/null 2>&1; then
      command -v "$name"; return 0
    fi
  done
  return 1
}
if ! chromium=$(find_chromium); then
  say "install Chromium"
  if command -v apt-get >/dev/null && grep -qi '^ID=debian' /etc/os-release; then
    as_root apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq chromium >/dev/null || true
  fi
  chromium=$(find_chromium) || {
    "$venv/bin/python" -m playwright install --with-deps chromium
    chromium=""
  }
fi
[ -z "$chromium" ] || export GPT_MAGICS_CHROMIUM="$chromium"

# --- Checks ----------------------------------------------------------------------------------
say "ruff";         "$venv/bin/ruff" check .; "$venv/bin/ruff" format --check .
say "mypy";         "$venv/bin/mypy"
say "import rules"; "$venv/bin/lint-imports"
say "tests"
# No key and no address of the user's reaches a test.
env -u OPENAI_API_KEY -u OPENAI_BASE_URL -u OPENAI_ORG_ID -u OPENAI_PROJECT_ID \
  "$venv/bin/python" -m pytest -q --durations=8 "$@"
say "all passed"
