# Programs that tests and benchmarks need beside Python; sourced after environment.sh.
#
#     ensure_rabbitmq   # rabbitmq-server is there, or the tests have another broker
#     ensure_node       # node and npm are there
#     ensure_chromium   # chromium is there, or the tests have another one; and a font for it
#     ensure_promtool   # promtool of Prometheus is there; no server is started
#     ensure_redis      # redis-server is there; for the benchmarks of others
#
# Where one is missing, root gets it from the distribution; others get one sentence.

ensure_rabbitmq() {
    [ -z "${WARRENER_TEST_BROKER_URL:-}" ] || return 0
    has_programs rabbitmq-server && return
    local units=(rabbitmq-server.service)
    has_programs epmd || units+=(epmd.socket epmd.service)
    install_packages rabbitmq-server \
        "apt install rabbitmq-server, or name a RabbitMQ with WARRENER_TEST_BROKER_URL=amqp://..." \
        rabbitmq-server
    disable_units "${units[@]}"
}

ensure_node() {
    has_programs node npm && return
    install_packages "node or npm" "apt install nodejs npm" nodejs npm
}

ensure_chromium() {
    [ -z "${WARRENER_TEST_CHROMIUM:-}" ] || return 0
    has_programs chromium && return
    install_packages chromium \
        "apt install chromium, or name one with WARRENER_TEST_CHROMIUM=/path/to/chromium" \
        chromium fonts-dejavu-core
}

ensure_promtool() {
    has_programs promtool && return
    install_packages promtool "apt install prometheus" prometheus
    disable_units prometheus.service
}

ensure_redis() {
    has_programs redis-server && return
    install_packages redis-server "apt install redis-server" redis-server
    disable_units redis-server.service
}

# Nor are they to start with the machine: tests and benchmarks start servers of their own.
disable_units() {
    ! command -v systemctl >/dev/null || systemctl disable "$@" >/dev/null 2>&1 || true
}

# Whether all of them are there; Debian keeps servers in /usr/sbin, which users have not on PATH.
has_programs() {
    local PATH="$PATH:${DPKG_ROOT:-}/usr/sbin"
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null || return 1
    done
}
