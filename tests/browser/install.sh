#!/usr/bin/env bash
# Installs, on Debian and its relatives, the browser that test_browser.py needs: bash tests/browser/install.sh
set -euo pipefail
PACKAGES=(chromium chromium-driver)

missing=""
for program in chromium chromedriver; do
    command -v "$program" >/dev/null || missing="$missing $program"
done

if [[ -z "$missing" ]]; then
    echo "already installed"
elif [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "$missing not installed, and cannot be installed here: that needs root and apt-get (${PACKAGES[*]})"
    exit 5
else
    timeout 300 apt-get update -qq
    timeout 900 apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"
fi
