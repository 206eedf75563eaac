"""Delete old checkpoints beyond the limit, and what killed attempts left half written.

What a restart needs is never touched: the newest good checkpoint stays until a newer good one is committed. The
manifest is deleted first and the files after it, so that a kill in between leaves a folder without a manifest, which is
not a checkpoint, for the next sweep.
"""

from runner.runs.attempts import Claim, attempts, fence
from runner.runs.checkpoints.lineage import checkpoint_folders, lineage_of
from runner.runs.layout import CheckpointName, checkpoint_prefix, run_key, token_number
from runner.storage.commit import verify
from runner.storage.manifest import MANIFEST, Damaged
from runner.storage.store import NotFound, Store


def prune(
    store: Store, claim: Claim, *, save_total_limit: int | None, best: CheckpointName | None = None
) -> list[CheckpointName]:
    """Delete the checkpoints on our lineage that are older than the newest `save_total_limit` good ones.

    A checkpoint is good if its manifest can be trusted and each file exists with its size. Damaged ones do not count;
    they are deleted once they are older than the last one that is kept. What is off our lineage stays.

    Args:
        store: where the run lives.
        claim: our attempt, which has begun. It must not commit at the same time.
        save_total_limit: how many to keep; at least one stays. None: delete none.
        best: stays as well.

    Returns:
        The deleted checkpoints, newest first.

    Raises:
        Superseded: a newer attempt has begun; nothing was deleted since.
    """
    if save_total_limit is None:
        return []
    lineage = lineage_of(attempts(store, claim.run_id), claim.token)
    names = [name for name, committed in checkpoint_folders(store, claim.run_id).items() if committed]
    good = 0
    deleted = []
    for name in sorted(filter(lineage.holds_checkpoint, names), key=lineage.in_order, reverse=True):
        prefix = checkpoint_prefix(claim.run_id, name)
        if good < max(save_total_limit, 1):
            good += _is_good(store, prefix)
        elif name != best:
            fence(store, claim)
            _delete_folder(store, prefix)
            deleted.append(name)
    return deleted


def sweep(store: Store, claim: Claim) -> list[str]:
    """Delete checkpoint and artifact folders without a manifest that no attempt will complete any more.

    Those are the folders of attempts older than ours, which can no longer commit, and our own checkpoints before one
    that we committed: their deletion was cut short.

    Args:
        store: where the run lives.
        claim: our attempt. It must not commit at the same time.

    Returns:
        The folders' keys.

    Raises:
        Superseded: a newer attempt has begun; nothing was deleted since.
    """
    folders = checkpoint_folders(store, claim.run_id)
    # A write that was cut short may leave a folder that holds no object yet.
    for text in store.folders(run_key(claim.run_id, "checkpoints/")):
        name = CheckpointName.parse(text)
        if name is not None and str(name) == text:
            folders.setdefault(name, False)
    lineage = lineage_of(attempts(store, claim.run_id), claim.token)
    ours = max(
        (lineage.in_order(name) for name, committed in folders.items() if committed and name.token == claim.token),
        default=None,
    )
    dead = [
        checkpoint_prefix(claim.run_id, name)
        for name, committed in sorted(folders.items())
        if not committed
        and (
            token_number(name.token) < claim.number
            or (name.token == claim.token and ours is not None and lineage.in_order(name) < ours)
        )
    ]
    dead += _dead_artifacts(store, claim)
    for prefix in dead:
        fence(store, claim)
        _delete_folder(store, prefix)
    return dead


def _is_good(store: Store, prefix: str) -> bool:
    try:
        verify(store, prefix, contents=False)
    except (Damaged, NotFound):
        return False
    return True


def _dead_artifacts(store: Store, claim: Claim) -> list[str]:
    root = run_key(claim.run_id, "artifacts/")
    committed: dict[str, bool] = {}
    for info in store.objects(root):
        name, _, rest = info.key.removeprefix(root).partition("/")
        token, _, file = rest.partition("/")
        if file and _is_older(token, claim.number):
            prefix = f"{root}{name}/{token}/"
            committed[prefix] = committed.get(prefix, False) or file == MANIFEST
    return [prefix for prefix, whole in committed.items() if not whole]


def _is_older(token: str, number: int) -> bool:
    try:
        return token_number(token) < number
    except ValueError:
        return False


def _delete_folder(store: Store, prefix: str) -> None:
    store.delete([prefix + MANIFEST])
    store.delete([info.key for info in store.objects(prefix)])
