"""The environment variables of Dynamo's runtime. It reads its settings from there, at import and when it starts."""

from __future__ import annotations

import os

from bitnet_tt.scale.cluster import ClusterSettings


def configure(settings: ClusterSettings, *, log_json: bool) -> None:
    """Set the variables of this process. Call it before `dynamo` is imported.

    By default some sockets of the runtime listen on every network. All addresses are set here, so that none does.
    `DYN_LOG` keeps the value that the caller of the program gave it.

    Args:
        settings: How this process takes part in its cluster.
        log_json: The runtime logs one JSON object a line, as our server does.
    """
    os.environ.update(
        DYN_FILE_KV=str(settings.folder),
        DYN_TCP_RPC_HOST=settings.address,
        DYN_TCP_RESPONSE_STREAM_HOST=settings.address,
        DYN_EVENT_PLANE_HOST=settings.address,
        DYN_SYSTEM_HOST=settings.address,
        DYN_SDK_DISABLE_ANSI_LOGGING="1",
    )
    if settings.etcd:
        os.environ["ETCD_ENDPOINTS"] = ",".join(settings.etcd)
    if log_json:
        os.environ["DYN_LOGGING_JSONL"] = "1"
    os.environ.setdefault("DYN_LOG", "error")
