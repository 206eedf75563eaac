"""OpenStack Swift on one disk, in one process: object, container, account and proxy server, S3 in front.

Run by the interpreter of `.venv-servers`, never imported by a test. These are Swift's own WSGI apps on its own green
threads, with real files and extended attributes below ``--folder``; they talk to each other over loopback as they do
in a cluster. Requests are signed and checked (s3api with tempauth). One replica, no background daemons, no memcached:
container listings are updated before a PUT is answered.

The proxy is served last, so when its port answers, everything does.
"""

import argparse
import socket
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi as eventlet_wsgi  # noqa: E402  # the patch comes before anything that opens a socket
from swift.common import utils  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.storage_policy import reload_storage_policies  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

BACKENDS = ("object", "container", "account")

SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = test
swift_hash_path_suffix = test

[storage-policy:0]
name = one-copy
default = yes
"""

COMMON = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_level = ERROR
log_address = {folder}/no-syslog
"""

BACKEND_CONF = """
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
container_update_timeout = 30
replication_server = false
"""

# slo serves multipart uploads, bulk deletes their segments, copy turns x-amz-copy-source into a copy.
PROXY_CONF = """
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth bulk slo copy proxy-server

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
client_timeout = 30
node_timeout = 30
conn_timeout = 5

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api
s3_acl = false
dns_compliant_bucket_names = true
# Short pages, so that a test of paging need not write a thousand objects.
max_bucket_listing = 100

[filter:tempauth]
use = egg:swift#tempauth
user_test_{user} = {secret} .admin

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo

[filter:copy]
use = egg:swift#copy
"""


def write_ring(folder: Path, name: str, port: int) -> None:
    """One device on one host, so every partition is on it."""
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev(
        {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0}
        | {"replication_ip": "127.0.0.1", "replication_port": port}
    )
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the disk and the settings lie")
    parser.add_argument("--port", type=int, required=True, help="port of the S3 front, on 127.0.0.1")
    parser.add_argument("--user", required=True, help="the access key is test:USER")
    parser.add_argument("--secret", required=True)
    options = parser.parse_args()

    folder: Path = options.folder
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT_CONF)
    utils.set_swift_dir(str(folder))
    utils.validate_hash_conf()
    reload_storage_policies()

    listeners = {name: eventlet.listen(("127.0.0.1", 0)) for name in BACKENDS}
    for name, listener in listeners.items():
        write_ring(folder, name, listener.getsockname()[1])
        (folder / f"{name}.conf").write_text(COMMON.format(folder=folder) + BACKEND_CONF.format(name=name))
    (folder / "proxy.conf").write_text(
        COMMON.format(folder=folder) + PROXY_CONF.format(user=options.user, secret=options.secret)
    )

    def serve(name: str, listener: socket.socket) -> None:
        # Without TCP_NODELAY a 200 of two packets waits 40 ms for the client's delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = loadapp(str(folder / f"{name}.conf"), global_conf={"log_name": name})
        logger = utils.get_logger({"log_level": "ERROR"}, log_route=name)
        eventlet_wsgi.server(
            listener,
            app,
            utils.NullLogger() if logger is None else logger,
            protocol=SwiftHttpProtocol,
            log_output=False,
        )

    for name, listener in listeners.items():
        eventlet.spawn(serve, name, listener)
    eventlet.sleep(0)
    serve("proxy", eventlet.listen(("127.0.0.1", options.port)))


if __name__ == "__main__":
    main()
