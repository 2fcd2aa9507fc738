"""The filters that a configuration may name.

Rule of this file: a filter is one import and one line of `KINDS`; what configurations may say follows from that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union

import msgspec

from lbcore.l7.cache.options import CacheOptions
from lbcore.l7.filters.access_log import AccessLog, AccessLogOptions
from lbcore.l7.filters.basic import Basic, BasicOptions
from lbcore.l7.filters.cache import Cache
from lbcore.l7.filters.compress import Compress, CompressOptions
from lbcore.l7.filters.cors import Cors, CorsOptions
from lbcore.l7.filters.error_pages import ErrorPages, ErrorPagesOptions
from lbcore.l7.filters.filter import Filter
from lbcore.l7.filters.forwarded import Forwarded, ForwardedOptions
from lbcore.l7.filters.headers import HeaderChanges, HeadersOptions
from lbcore.l7.filters.jwt import Jwt, JwtOptions
from lbcore.l7.filters.metrics import Metrics, MetricsOptions
from lbcore.l7.filters.rate_limit import RateLimit, RateLimitOptions
from lbcore.l7.filters.redirect import Redirect, RedirectOptions
from lbcore.l7.filters.request_id import RequestId, RequestIdOptions
from lbcore.l7.filters.rewrite import Rewrite, RewriteOptions
from lbcore.l7.filters.security_headers import SecurityHeaders, SecurityHeadersOptions
from lbcore.l7.filters.traceparent import Traceparent, TraceparentOptions
from lbcore.l7.filters.waf import Waf, WafOptions
from lbcore.l7.rpc.gateway import Gateway, GatewayOptions

KINDS: Final[tuple[tuple[type[msgspec.Struct], Any], ...]] = (
    (AccessLogOptions, AccessLog),
    (BasicOptions, Basic),
    (CacheOptions, Cache),
    (CompressOptions, Compress),
    (CorsOptions, Cors),
    (ErrorPagesOptions, ErrorPages),
    (ForwardedOptions, Forwarded),
    (GatewayOptions, Gateway),
    (HeadersOptions, HeaderChanges),
    (JwtOptions, Jwt),
    (MetricsOptions, Metrics),
    (RateLimitOptions, RateLimit),
    (RedirectOptions, Redirect),
    (RequestIdOptions, RequestId),
    (RewriteOptions, Rewrite),
    (SecurityHeadersOptions, SecurityHeaders),
    (TraceparentOptions, Traceparent),
    (WafOptions, Waf),
)
"""Options, and the filter that they make."""

FILTERS: Final = {str(options.__struct_config__.tag): (options, made) for options, made in KINDS}
"""`kind` of a configuration to (type of its options, type of the filter)."""

if TYPE_CHECKING:
    AnyOptions: TypeAlias = msgspec.Struct
else:
    AnyOptions = Union[tuple(options for options, _ in KINDS)]  # noqa: UP007
    """The options of any filter, told apart by `kind`."""


def make(options: AnyOptions) -> Filter:
    """The filter that these options describe."""
    _, made = FILTERS[str(options.__struct_config__.tag)]
    filter: Filter = made(options)
    return filter
