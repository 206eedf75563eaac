"""Training processes of one machine find each other where nobody else can."""

import json
import subprocess
import sys

from runner.train.agent.nodes.topology import free_port

_PROCESS = """
import json, sys
import psutil
import torch.distributed as dist
from runner.train.devices.distributed import init_distributed
assignment = json.loads(sys.argv[1])
process_info = init_distributed(assignment, local_rank=assignment["rank"], deepspeed=False)
gathered = [None, None]
dist.all_gather_object(gathered, assignment["rank"])
listening = {
    connection.laddr.ip for connection in psutil.Process().net_connections("inet") if connection.status == "LISTEN"
}
dist.barrier()
print(json.dumps({"gathered": gathered, "listening": sorted(listening)}))
dist.destroy_process_group()
"""


def test_one_machine_listens_on_loopback_alone() -> None:
    """Also where SkyPilot names the machine by an address that others reach."""
    assignment = {"world_size": 2, "local_world_size": 2, "addresses": ["10.0.0.4"], "port": free_port("127.0.0.1")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, json.dumps({**assignment, "rank": rank})],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        found = json.loads(printed.splitlines()[-1])
        assert found["gathered"] == [0, 1]
        assert set(found["listening"]) == {"127.0.0.1"}
