"""Which machine this is and how many processes it runs, from what SkyPilot and CUDA say."""

import socket

import pytest

from runner.errors import UserError
from runner.train.agent.nodes.topology import Topology, count_gpus, detect_topology, free_port
from runner.train.devices.distributed import interface_of

SKY = {
    "SKYPILOT_NUM_NODES": "2",
    "SKYPILOT_NODE_RANK": "1",
    "SKYPILOT_NODE_IPS": "10.0.0.4\n10.0.0.5",
    "SKYPILOT_NUM_GPUS_PER_NODE": "4",
}


def test_skypilot_says_where_this_machine_stands() -> None:
    topology = detect_topology(SKY)
    assert topology == Topology(num_nodes=2, node_rank=1, node_ips=("10.0.0.4", "10.0.0.5"), processes_per_node=4)
    assert (topology.is_head, topology.world_size) == (False, 8)
    assert detect_topology({**SKY, "SKYPILOT_NODE_RANK": "0"}).is_head


@pytest.mark.parametrize(
    ("environment", "use_cpu", "processes"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, False, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, False, 3),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, True, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2", "RUNNER_PROCESSES": "2"}, False, 2),
        ({**SKY, "RUNNER_PROCESSES": "3"}, True, 3),
        ({**SKY, "SKYPILOT_NUM_GPUS_PER_NODE": "0", "CUDA_VISIBLE_DEVICES": ""}, False, 1),
    ],
)
def test_a_machine_runs_a_process_for_each_gpu_unless_asked_otherwise(
    environment: dict[str, str], use_cpu: bool, processes: int
) -> None:
    assert detect_topology(environment, use_cpu=use_cpu).processes_per_node == processes


def test_visible_devices_are_counted_as_cuda_does() -> None:
    """CUDA stops at the first entry that names no device."""
    assert count_gpus({"CUDA_VISIBLE_DEVICES": "0, 2,-1,3"}) == 2
    assert count_gpus({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-0d1f"}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"RUNNER_PROCESSES": "0"},
        {"RUNNER_PROCESSES": "two"},
        {**SKY, "SKYPILOT_NODE_RANK": "2"},
        {**SKY, "SKYPILOT_NODE_IPS": "10.0.0.4"},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError):
        detect_topology(wrong)


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("127.0.1.1") == "lo", "Debian's name of the host"
    assert interface_of("::1") in ("lo", None), "there may be no IPv6"
    assert interface_of("203.0.113.77") is None, "an address of nobody here"


def test_a_free_port_can_be_listened_on() -> None:
    for address in ("127.0.0.1", "203.0.113.77"):
        port = free_port(address)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", port))
            assert listening.getsockname()[1] == port
