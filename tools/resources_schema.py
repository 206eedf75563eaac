"""The schema of a recipe's `resources` and `sky`: SkyPilot's documented keys, since SkyPilot itself is optional.

From the reference of SkyPilot's YAML (0.14); tests/slurm/test_schema.py compares it with SkyPilot's own schema. Clouds
are not enumerated: which ones there are is SkyPilot's affair.
"""

from typing import Any

Schema = dict[str, Any]

_SIZE: Schema = {"type": ["number", "string"]}
_DISK_SIZE: Schema = {
    "type": ["integer", "string"],
    "pattern": "^[0-9]+([kK][bBiI]|[mM][bBiI]|[gG][bBiI]|[tT][bBiI]|[pP][bBiI])?$",
}

# Keys that also stand in each entry of `any_of` and `ordered`.
_ONE: dict[str, Schema] = {
    "infra": {"description": "Where to run: `cloud`, `cloud/region`, `cloud/region/zone`, `k8s/context`, `*`."},
    "cloud": {"description": "The cloud; `infra` says the same in one word."},
    "region": {"description": "The region."},
    "zone": {"description": "The zone."},
    "accelerators": {
        "description": "The GPU and how many: `L4`, `A100:8`, or a mapping with a count for each that would do.",
        "type": ["array", "null", "object", "string"],
        "items": {"type": "string"},
        "additionalProperties": {"type": ["null", "number"], "exclusiveMinimum": 0},
    },
    "accelerator_args": {
        "description": "Arguments of a TPU: `runtime_version`, `tpu_name`, `tpu_vm`, `gcp_queued_resource`.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "runtime_version": {"type": "string"},
            "tpu_name": {"type": "string"},
            "tpu_vm": {"type": "boolean"},
            "gcp_queued_resource": {"type": "boolean"},
        },
    },
    "cpus": {"description": "vCPUs: `8`, or `8+` for at least 8.", **_SIZE},
    "memory": {"description": "Memory in GB: `32`, or `32+` for at least 32.", **_SIZE},
    "instance_type": {"description": "The machine's type, in the cloud's own word."},
    "use_spot": {"description": "Whether to use spot machines.", "type": "boolean"},
    "disk_size": {"description": "The size of the disk: in GB, or with a unit, `1TB`.", **_DISK_SIZE},
    "disk_tier": {
        "description": "The speed of the disk.",
        "enum": ["low", "medium", "high", "ultra", "best", "none"],
    },
    "network_tier": {"description": "The speed of the network.", "enum": ["standard", "best"]},
    "local_disk": {"description": "The machine's own disk that it needs."},
    "ephemeral_storage": {"description": "Older name of `disk_size` on Kubernetes.", **_DISK_SIZE},
    "volumes": {"description": "Disks to attach.", "type": "array", "items": {"type": "object"}},
    "max_hourly_cost": {
        "description": "The most that one hour of the machine may cost, in US dollars.",
        "type": "number",
        "exclusiveMinimum": 0,
    },
    "image_id": {
        "description": "The machine's or container's image (`docker:…`), or one for each region.",
        "type": ["null", "object", "string"],
    },
    "ports": {
        "description": "Ports to open: `8081`, `10052-10100`, or a list.",
        "type": ["array", "integer", "null", "string"],
        "items": {"type": ["integer", "string"]},
    },
    "labels": {
        "description": "Labels for the machines.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
    "autostop": {
        "description": "Stop the machine when it is idle: minutes, `10h`, false, or a mapping.",
        "type": ["boolean", "integer", "object", "string"],
        "pattern": "^[0-9]+[mhdwMHDW]?$",
        "additionalProperties": False,
        "properties": {
            "idle_minutes": {"type": "integer", "minimum": 0},
            "down": {"type": "boolean"},
            "wait_for": {"enum": ["jobs_and_ssh", "jobs", "none"]},
            "hook": {"type": "string"},
            "hook_timeout": {"type": "integer", "minimum": 1},
        },
    },
    "job_recovery": {
        "description": "What a managed job does when its machine goes away.",
        "type": ["null", "object", "string"],
        "properties": {
            "strategy": {"type": ["null", "string"]},
            "max_restarts_on_errors": {"type": "integer", "minimum": 0},
            "recover_on_exit_codes": {
                "type": ["array", "integer"],
                "items": {"type": "integer", "minimum": 0, "maximum": 255},
                "minimum": 0,
                "maximum": 255,
            },
        },
    },
    "priority": {
        "description": "The job's priority in a queue.",
        "type": "integer",
        "minimum": -1000,
        "maximum": 1000,
    },
    "priority_class": {"description": "The class of the job's priority."},
}
for _schema in _ONE.values():
    if "enum" not in _schema:
        _schema.setdefault("type", "string")
_ONE["gpus"] = {**_ONE["accelerators"], "description": "Another word for `accelerators`."}
_CANDIDATES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "additionalProperties": False, "properties": _ONE},
}

RESOURCES: Schema = {
    "description": "The machine, as SkyPilot's `resources`, unchanged.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_ONE,
        "any_of": {"description": "Machines of which any would do.", **_CANDIDATES},
        "ordered": {"description": "Machines in the order in which they are tried.", **_CANDIDATES},
    },
}

SKY: Schema = {
    "description": "Other keys of SkyPilot's task, unchanged, laid into the one that is rendered.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "setup": {"description": "Commands that prepare a machine, before ours.", "type": "string"},
        "envs": {
            "description": "Environment variables; no secrets, since these stand in the task.",
            "type": "object",
            "additionalProperties": {"type": ["number", "string"]},
        },
        "secrets": {
            "description": "Names of variables whose values come from the environment: `{HF_TOKEN: null}`.",
            "type": "object",
            "additionalProperties": {"type": "null"},
        },
        "workdir": {
            "description": "The folder (or git repository) that goes along.",
            "type": ["object", "string"],
            "additionalProperties": False,
            "required": ["url"],
            "properties": {"url": {"type": "string"}, "ref": {"type": "string"}},
        },
        "file_mounts": {"description": "Files, folders and buckets by where they go.", "type": "object"},
        "volumes": {"description": "SkyPilot's volumes by where they are mounted.", "type": "object"},
        "config": {
            "description": "SkyPilot's configuration for this task alone, and `hooks`.",
            "type": "object",
        },
    },
}
