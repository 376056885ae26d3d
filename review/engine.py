"""The way to the engine: a client as the settings say, and what its namespace must hold."""

import re
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetSystemInfoRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, RPCError, RPCStatusCode, TLSConfig

from review.headers import Correlation
from review.payloads import converter
from review.settings import Settings

SEARCH_ATTRIBUTES = {
    "SanshenCategory": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SanshenUnit": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SanshenStatus": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SanshenOverdue": IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
}

# Closed runs stay readable that long; the archive is the ledger, which keeps everything.
RETENTION = timedelta(days=90)

VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])")
CLOUD = (".tmprl.cloud", ".temporal.io")

# Older servers of these lines have known holes; a line that isn't named is newer or has none fixed.
LEAST_VERSIONS = {(1, 30): 7, (1, 31): 3}
LEAST_LINE = (1, 32)

# A page does not wait for an absent engine: 0.3 s instead of the client's own 10 s (design).
IMPATIENT = RetryConfig(max_retries=3, max_elapsed_time_millis=1500)


async def connect(
    settings: Settings, *, lazy: bool = False, runtime: Runtime | None = None
) -> Client:
    """Return a client of the engine that the settings name.

    Args:
        settings: Address, namespace, TLS, API key and payload keys.
        lazy: Connect at the first call and give up soon, as the web does. Such a client raises
            RuntimeError, not RPCError, while the engine was never there.
        runtime: The SDK's runtime, when metrics or logs are wanted.

    Raises:
        RuntimeError: Not lazy, and the engine can't be reached.
    """
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        tls=_tls(settings) if settings.uses_tls else False,
        data_converter=converter(settings.payload_keys_by_id, settings.temporal_namespace),
        retry_config=IMPATIENT if lazy else None,
        lazy=lazy,
        runtime=runtime,
        interceptors=[Correlation()],
    )


class EngineOldError(Exception):
    """The server is of a version with known holes.

    Attributes:
        version: What it says it is.
        least: What to install.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        lines = [f"{a}.{b}.{patch}" for (a, b), patch in LEAST_VERSIONS.items()]
        self.least = ", ".join([*lines, f"{LEAST_LINE[0]}.{LEAST_LINE[1]}.0"])
        super().__init__(f"Temporal server {version} has known holes; install one of {self.least}")


def is_new_enough(version: str) -> bool:
    """Tell whether a server's version is free of the holes we know of; an odd one is not."""
    found = VERSION.match(version)
    if found is None:
        return False
    major, minor, patch = map(int, found.groups())
    if (major, minor) >= LEAST_LINE:
        return True
    least = LEAST_VERSIONS.get((major, minor))
    return least is not None and patch >= least


async def require_version(client: Client) -> str:
    """Return the server's version; Temporal Cloud says none of its own and is kept by its makers.

    Raises:
        EngineOldError: It has known holes.
        RPCError: The engine is away.
    """
    info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    is_cloud = client.service_client.config.target_host.partition(":")[0].endswith(CLOUD)
    if not is_cloud and not is_new_enough(info.server_version):
        raise EngineOldError(info.server_version)
    return info.server_version


async def prepare_namespace(client: Client) -> None:
    """Register our search attributes and raise the retention; both may be there already.

    Raises:
        RPCError: The engine is away, or this client may not change the namespace.
    """
    namespace = client.namespace
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    missing = {
        name: kind
        for name, kind in SEARCH_ATTRIBUTES.items()
        if name not in listed.custom_attributes
    }
    if missing:
        try:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=namespace, search_attributes=missing)
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=namespace)
    )
    if described.config.workflow_execution_retention_ttl.ToTimedelta() < RETENTION:
        duration = Duration()
        duration.FromTimedelta(RETENTION)
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=namespace,
                config=NamespaceConfig(workflow_execution_retention_ttl=duration),
            )
        )


def _tls(settings: Settings) -> TLSConfig:
    def content(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    return TLSConfig(
        server_root_ca_cert=content(settings.temporal_tls_ca),
        domain=settings.temporal_tls_server_name,
        client_cert=content(settings.temporal_tls_cert),
        client_private_key=content(settings.temporal_tls_key),
    )
