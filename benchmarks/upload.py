"""Uploading a checkpoint: our commit against obstore alone, boto3 and awscli.

    python benchmarks/upload.py                  # 1 GiB, five rounds, over HTTP
    python benchmarks/upload.py --tls            # over TLS, as against a cloud
    python benchmarks/upload.py --gib 4 --json
    python benchmarks/upload.py --gib 0.03 --rounds 1    # seconds: does it still run?

The server (`null_s3.py`) keeps no data, so that only the client's cost shows. Each contender uploads the same files,
with the sizes of a model and its optimizer state, in a process of its own; CPU seconds are that process's (for awscli,
the whole program's, start included), wall time is the upload's. Contenders take turns. Ours also computes a BLAKE3 of
each file, checks that all have arrived, and writes the manifest.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTENDERS = ("runner", "obstore", "boto3", "awscli")
BUCKET = "checkpoints"
# The files of a checkpoint and their shares: AdamW's state is twice the weights.
SHARES = {"model.safetensors": 1 / 3, "optimizer.pt": 2 / 3}


def make_files(folder: Path, gib: float) -> None:
    """Write large files of random bytes, and the small files that a checkpoint also has."""
    folder.mkdir()
    for name, share in SHARES.items():
        with (folder / name).open("wb") as file:
            left = int(gib * share * (1 << 30))
            while left:
                left -= file.write(os.urandom(min(left, 8 << 20)))
    for name in ("scheduler.pt", "rng_state.pth", "trainer_state.json", "runner.json", "config.json"):
        (folder / name).write_bytes(os.urandom(2000))


def upload(contender: str, folder: Path) -> dict[str, float]:
    """Upload the folder's files in this process; return CPU and wall seconds."""
    files = {path.name: path for path in folder.iterdir()}
    who = resource.RUSAGE_SELF
    if contender == "runner":
        from runner.storage.commit import commit
        from runner.storage.open import open_store

        store = open_store(f"s3://{BUCKET}/runner")
        began, cpu = time.perf_counter(), cpu_seconds(who)
        commit(store, "runs/r/checkpoints/sft-000010-0001-abcd/", files, {"step": 10})
    elif contender == "obstore":
        import obstore
        from obstore.store import S3Store

        endpoint = os.environ["AWS_ENDPOINT_URL"]
        plain = S3Store(
            BUCKET,
            endpoint=endpoint,
            region="us-east-1",
            virtual_hosted_style_request=False,
            unsigned_payload=endpoint.startswith("https"),
            client_options={"allow_http": True, "root_certificate": certificate()},
        )
        began, cpu = time.perf_counter(), cpu_seconds(who)
        for name, path in files.items():
            obstore.put(plain, f"obstore/{name}", path)
    elif contender == "boto3":
        import boto3

        client = boto3.client("s3", region_name="us-east-1")
        began, cpu = time.perf_counter(), cpu_seconds(who)
        for name, path in files.items():
            client.upload_file(str(path), BUCKET, f"boto3/{name}")
    else:
        who = resource.RUSAGE_CHILDREN
        command = [Path(sys.executable).with_name("aws"), "s3", "cp", "--recursive", "--only-show-errors"]
        began, cpu = time.perf_counter(), cpu_seconds(who)
        subprocess.run([*command, folder, f"s3://{BUCKET}/awscli/"], check=True)
    return {"cpu_seconds": cpu_seconds(who) - cpu, "wall_seconds": time.perf_counter() - began}


def certificate() -> bytes | None:
    """Return the certificate authority to trust besides the usual ones, in PEM; None: no other."""
    bundle = os.environ.get("AWS_CA_BUNDLE")
    return Path(bundle).read_bytes() if bundle else None


def cpu_seconds(who: int) -> float:
    """Return the user and system time so far.

    Args:
        who: `resource.RUSAGE_SELF` or `resource.RUSAGE_CHILDREN`.
    """
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def start_server(folder: Path, *, tls: bool) -> tuple["subprocess.Popen[bytes]", dict[str, str]]:
    """Start the server; return its process and the environment in which S3 clients find it."""
    arguments = [sys.executable, str(Path(__file__).with_name("null_s3.py")), str(folder / "port")]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # Never botocore's other transport: it does not know `AWS_ENDPOINT_URL`.
        "BOTO_DISABLE_CRT": "true",
    }
    if tls:
        key, bundle = str(folder / "key.pem"), str(folder / "certificate.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
        subprocess.run([*command, "-keyout", key, "-out", bundle], check=True, capture_output=True)
        arguments += [bundle, key]
        environment["AWS_CA_BUNDLE"] = bundle
    server = subprocess.Popen(arguments)
    while not (folder / "port").exists():
        time.sleep(0.02)
    port = (folder / "port").read_text()
    environment["AWS_ENDPOINT_URL"] = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    return server, environment


def main() -> None:
    """Measure, and print a table, and with `--json` all figures in a last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true", help="print all figures too, in a last line")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(upload(options.only, options.folder)))
        return
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder / "files", options.gib)
        server, environment = start_server(folder, tls=options.tls)
        try:
            for round_number in range(options.rounds + 1):
                for contender, results in figures.items():
                    command = [sys.executable, __file__, "--only", contender, "--folder", str(folder / "files")]
                    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                    if round_number:  # the first one only warms the page cache
                        results.append(json.loads(process.stdout))
        finally:
            server.kill()
    medians = {
        contender: {what: statistics.median(result[what] for result in results) for what in results[0]}
        for contender, results in figures.items()
    }
    ratios = {
        contender: {what: value / medians["obstore"][what] for what, value in values.items()}
        for contender, values in medians.items()
    }
    print(f"{options.gib:g} GiB over {'TLS' if options.tls else 'HTTP'}, medians of {options.rounds}")
    print(f"{'':10}{'CPU s/GiB':>11}{'of obstore':>12}{'wall s':>9}{'of obstore':>12}")
    for contender, values in medians.items():
        cpu, wall = values["cpu_seconds"] / options.gib, values["wall_seconds"]
        ratio = ratios[contender]
        print(f"{contender:10}{cpu:11.2f}{ratio['cpu_seconds']:12.2f}{wall:9.2f}{ratio['wall_seconds']:12.2f}")
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        report = {"machine": machine, "gib": options.gib, "tls": options.tls, "medians": medians, "ratios": ratios}
        print(json.dumps({**report, "all": figures}))


if __name__ == "__main__":
    main()
