#!/bin/sh
# Behaves like the official image's entrypoint as far as tests and compose.yaml use it:
# MYSQL_ROOT_PASSWORD or MYSQL_RANDOM_ROOT_PASSWORD, MYSQL_DATABASE, MYSQL_USER, MYSQL_PASSWORD;
# arguments that start with a dash are the server's. A first run sets up without network, then
# the real server logs "ready for connections", which is what waiting clients look for.
set -eu
case ${1:-} in -*) set -- mysqld "$@" ;; esac
[ "$1" = mysqld ] || exec "$@"
shift

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
if [ ! -d "$data/mysql" ]; then
    if [ -z "${MYSQL_ROOT_PASSWORD:-}${MYSQL_RANDOM_ROOT_PASSWORD:-}" ]; then
        echo "MYSQL_ROOT_PASSWORD or MYSQL_RANDOM_ROOT_PASSWORD is needed" >&2
        exit 1
    fi
    root_password=${MYSQL_ROOT_PASSWORD:-$(head -c 24 /dev/urandom | base64)}
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" --skip-test-db \
        --auth-root-authentication-method=normal >/dev/null
    setup=/run/mysqld/setup.sql
    {
        if [ -n "${MYSQL_DATABASE:-}" ]; then
            echo "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
        fi
        if [ -n "${MYSQL_USER:-}" ] && [ "$MYSQL_USER" != root ]; then
            echo "CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
            echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';"
        fi
        echo "CREATE USER 'root'@'%' IDENTIFIED BY '$root_password';"
        echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$root_password';"
    } >"$setup"
    chmod 644 "$setup"
    mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$socket" --skip-networking \
        --init-file="$setup" &
    first=$!
    until mariadb --no-defaults --socket="$socket" --user=root --password="$root_password" \
        --execute="SELECT 1" >/dev/null 2>&1; do
        # Not kill -0: without capabilities root may not signal another user's process.
        [ -d "/proc/$first" ] || exit 1
        sleep 0.1
    done
    mariadb --no-defaults --socket="$socket" --user=root --password="$root_password" \
        --execute=SHUTDOWN
    wait "$first"
    rm "$setup"
fi
exec mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$socket" \
    --bind-address=0.0.0.0 --skip-name-resolve \
    --character-set-server=utf8mb4 --collation-server=utf8mb4_general_ci "$@"
