"""Transactions whose process is dead.

A process that is killed in the middle of a transaction leaves it open: the server knows of no reason to end it, and
what it wrote stays locked until `transactionLifetimeLimitSeconds` have passed, a minute by default. Nobody can book for
that patient meanwhile. So each process names itself to the server, and whoever starts on the same machine ends what the
dead have left. (Users may see and end sessions of their own without any privilege.)
"""

import logging
import os
import re
import socket
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

_MAX_HOST_LENGTH = 64

logger = logging.getLogger("healthcare.mongodb")


def process_name() -> str:
    """What this process calls itself to the server, `healthcare/HOST/PID`."""
    return f"{_prefix()}{os.getpid()}"


def end_orphans(client: MongoClient[Any]) -> int:
    """End the transactions that dead processes of this machine have left open; returns how many."""
    try:
        # It takes no other read concern.
        idle = client.get_database("admin", read_concern=ReadConcern("local")).aggregate(
            [
                {"$currentOp": {"idleSessions": True}},
                {"$match": {"transaction": {"$exists": True}, "appName": {"$regex": f"^{re.escape(_prefix())}"}}},
                {"$project": {"appName": 1, "id": "$lsid.id"}},
            ]
        )
        dead = [each["id"] for each in idle if not _is_alive(int(each["appName"].rsplit("/", 1)[1]))]
        if dead:
            client.admin.command("killSessions", [{"id": each} for each in dead])
    except PyMongoError as error:
        # They end by themselves, later; a server that forbids to look is no reason not to serve.
        logger.warning("Transactions of dead processes could not be looked for: %s", type(error).__name__)
        return 0
    return len(dead)


def _prefix() -> str:
    return f"healthcare/{socket.gethostname()[:_MAX_HOST_LENGTH]}/"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
