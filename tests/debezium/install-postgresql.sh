#!/usr/bin/env bash
# The server that tests/debezium/postgres.py runs, where Debian or a kin of it can be asked for it. Elsewhere nothing
# happens, and the tests say what is missing.
set -euo pipefail

if compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || command -v postgres >/dev/null; then
    exit
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    exit
fi
# The package would make a cluster of its own and start it; the tests make theirs.
if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
apt-get update -qq
apt-get install -qq -y --no-install-recommends postgresql >/dev/null
