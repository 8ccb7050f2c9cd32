"""The known wordings of servers as data, in the order in which they are tried; the first that fits decides.

A row fits a status of its own, or an error in mid-stream that names none, if one of its codes or its words is there.
Words are looked for in the beginning of a complaint, in lower case, without addresses and without quotations of several
words, which are the user's own (``meaning``). ``docs/backends.md`` shows the table, made from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ...errors import ErrorClass

STREAM: Final = 0
"""In place of a status: an error in mid-stream, or under a status of 200, that names none."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a wording means.

    ``statuses`` are those under which it counts. It needs one of ``codes`` (regular expressions for a whole code, type
    or reason) or its ``words``; with neither, the status is enough. Words with groups ``limit`` and ``requested`` count
    only where more is requested than the limit is. ``midnight`` is the zone whose midnight ends a limit that states no
    time, and ``zone`` is that of stamps without one. ``example`` is a wording that fits.
    """

    name: str
    said_by: str
    statuses: frozenset[int]
    error_class: ErrorClass
    example: str
    source: str
    codes: re.Pattern[str] | None = None
    words: re.Pattern[str] | None = None
    midnight: str | None = None
    zone: str | None = None
    help: str | None = None


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_REFUSED: Final = (400, 403, 404, 422)


ROWS: Final[tuple[Row, ...]] = (
    Row(
        "more than the limit for a minute or a day",
        "OpenAI, Groq",
        frozenset({STREAM, 413, 429}),
        "context_overflow",
        "request too large on tokens per minute (TPM): Limit 12000, Requested 14137",
        "continuedev/continue#10218, continuedev/continue#11717",
        words=_any(r"limit:? (?P<limit>\d[\d,]{0,12})\b.{0,60}?\brequested:? ~?(?P<requested>\d[\d,]{0,12})"),
        help="such a request never fits: shorten it, ask for a shorter answer, or raise the limit of the account",
    ),
    Row(
        "credit held by requests under way",
        "OpenRouter",
        frozenset({STREAM, 402}),
        "rate_limited",
        "code openrouter_in_flight_budget",
        "https://openrouter.ai/docs/api_reference/errors-and-debugging",
        codes=_any("openrouter_in_flight_budget"),
    ),
    Row(
        "a bill is due",
        "any",
        frozenset({402}),
        "payment_required",
        "Insufficient Balance",
        "continuedev/continue#9942, continuedev/continue#11154",
    ),
    Row(
        "no credit, or no plan",
        "Anthropic, xAI, Ollama, Moonshot",
        frozenset({STREAM, 400, 403, 429}),
        "payment_required",
        "this model requires a subscription, upgrade for access",
        "anthropics/claude-code#66314, continuedev/continue#12670, continuedev/continue#10373, ollama/ollama#15990",
        codes=_any("billing_not_active", "insufficient_(?:balance|credits?)"),
        words=_any(
            r"credit balance is too low",
            r"used all (?:available|your) credits|(?:run )?out of credits|doesn't have any credits",
            r"requires a subscription",
            r"\baccount [^.]{0,80} is (?:not active|suspended)",
            r"insufficient (?:balance|credits?)\b",
        ),
    ),
    Row(
        "flagged by a moderation",
        "OpenRouter, Azure, OpenAI, xAI, Alibaba",
        frozenset({STREAM, *_REFUSED}),
        "refused_content",
        "the response was filtered due to the prompt triggering Azure OpenAI's content management policy",
        "https://openrouter.ai/docs/errors, compl-ai/compl-ai#20, CommandCodeAI/command-code#813",
        codes=_any(
            r"metadata\.reasons",
            "content_filter|content_policy_violation|moderation_blocked|responsibleaipolicyviolation",
            "data_inspection_failed",
        ),
        words=_any(
            r"requires moderation on|your input was flagged|moderation block",
            r"filtered due to the prompt|content (?:filter|management policy|policy violation)",
            r"flagged as potentially violating",
            r"violates? (?:our |the )?(?:usage|content) (?:policy|policies|guidelines)",
            r"may contain inappropriate content|responsible ai|safety system",
        ),
    ),
    Row(
        "too long for the model",
        "all servers",
        frozenset({STREAM, 400, 413, 422, 500}),
        "context_overflow",
        "This model's maximum context length is 8192 tokens",
        "cline/cline#3120, google-gemini/gemini-cli#6678, QwenLM/Qwen3#1321, llmmllab/llmmllab-api#69",
        codes=_any(
            "context_length_exceeded|exceed_context_size_error|request_too_large|model_max_prompt_tokens_exceeded"
        ),
        words=_any(
            r"maximum (?:context|prompt) length",
            r"exceeds? [^.]{0,60}context (?:length|size|window)",
            r"(?:longer|greater|larger) than [^.]{0,40}context (?:length|size|window)",
            r"context (?:length|size|window) (?:exceeded|overflow)|context the overflows",
            r"prompt (?:is )?too long|too many tokens|input\b[^.]{0,40} is too (?:long|large|big)",
            r"input token(?:s exceed| count [^.]{0,30}exceeds)",
            r"max_new_tokens\W{0,3} must be <=|must have less than \d+ tokens",
            r"(?:input|prompt)\b[^.]{0,60} exceeds? (?:the |our )?(?:maximum|limit|context)|range of input length",
            r"reduce the length of the (?:messages|prompt|input)",
        ),
    ),
    Row(
        "a wrong key",
        "OpenAI, Gemini, OpenRouter",
        frozenset({STREAM, 400, 401, 403}),
        "unauthorized",
        "API key not valid. Please pass a valid API key.",
        "continuedev/continue#10530",
        codes=_any("invalid_api_key|api_key_invalid|authentication_error"),
        words=_any(
            r"api key (?:is )?(?:not valid|not found|invalid|expired|missing)|(?:incorrect|invalid) (?:api )?key",
            r"no auth credentials|^unauthorized$|you are not signed in",
        ),
    ),
    Row(
        "cloud switched off",
        "Ollama",
        frozenset({STREAM, 403}),
        "unauthorized",
        "ollama cloud is disabled: remote model is unavailable",
        "ollama/ollama server/cloud_proxy.go",
        words=_any(r"cloud is disabled"),
        help="the server has its cloud switched off: unset OLLAMA_NO_CLOUD, or allow it in its settings",
    ),
    Row(
        "not for this account or place",
        "Gemini, OpenAI, Anthropic",
        frozenset({STREAM, 400, 403}),
        "unauthorized",
        "User location is not supported for the API use.",
        "FoundationAgents/OpenManus#803",
        codes=_any("permission_(?:error|denied)|unsupported_country_region_territory"),
        words=_any(r"(?:location|country|region)[^.]{0,40} (?:is )?not supported"),
        help="the server does not serve this account or place: see its list of countries, and what the key may use",
    ),
    Row(
        "a parameter that the model does not take",
        "OpenAI, Azure",
        frozenset({STREAM, 400, 422}),
        "invalid_request",
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "devnullvoid/dms-ai-assistant#12",
        codes=_any("unsupported_(?:parameter|value)"),
        words=_any(r"^unsupported (?:parameter|value)"),
        help="leave the parameter out of the request, or out of the `options` of the model",
    ),
    Row(
        "an option of a wrong type",
        "Ollama",
        frozenset({STREAM, 400, 500}),
        "invalid_request",
        'option "num_ctx" must be of type integer',
        "ollama/ollama api/types.go",
        words=_any(r'^option "\w+" must be'),
        help="correct it in the `options` of the request",
    ),
    Row(
        "no such path",
        "any",
        frozenset({404}),
        "not_found",
        "404 page not found",
        "ollama/ollama server/routes.go, https://fastapi.tiangolo.com",
        words=_any(r"^404 page not found|^not found$|^cannot (?:post|get) /|^unexpected endpoint"),
    ),
    Row(
        "no such model",
        "all servers",
        frozenset({STREAM, 400, 404, 422}),
        "not_found",
        "model 'llama3.2:3b' not found",
        "continuedev/continue#10832, canopyai/Orpheus-TTS#229, vllm-project/vllm#3485",
        codes=_any("model_not_found|not_?found_?error|deploymentnotfound"),
        words=_any(
            r"\bmodels?\b[^.]{0,20}\S{0,120} (?:was |is )?(?:not found|does not exist|not available|unknown)",
            r"unknown model|no such model|model not exist|invalid model\b|not a valid model|no models loaded",
            r"deployment for this resource does not exist|repository not found",
        ),
    ),
    Row(
        "what the model or its server cannot do",
        "Ollama, llama.cpp, vLLM, OpenRouter",
        frozenset({STREAM, 400, 404, 422, 500, 501}),
        "invalid_request",
        "image input is not supported",
        "ggml-org/llama.cpp#15377, ollama/ollama#14795, langchain4j/langchain4j#3475, evalstate/fast-agent#122",
        codes=_any("not_supported_error"),
        words=_any(
            r"does not support (?:tools?|chat|thinking|reasoning|vision|images?|audio|embed\w*|insert|completion)\b",
            r"does not support (?:generate|parallel|function|streaming|system)",
            r"(?:image|audio|video|thinking|reasoning|tool|function call)s?\b(?: \w+)? (?:is|are) not supported",
            r"unsupported content part",
            r"no endpoints (?:found|available)|requires? --[\w-]+",
            r"cannot run this remote model|missing data required for",
        ),
    ),
    Row(
        "a limit of the free models for a day",
        "OpenRouter",
        frozenset({STREAM, 429}),
        "quota_exhausted",
        "Rate limit exceeded: free-models-per-day",
        "Gitlawb/openclaude#936, Gitlawb/openclaude#1549, Avarok-Cybersecurity/atlas#543",
        codes=_any("openrouter_free_tier_daily"),
        words=_any("free-models-per-day"),
        midnight="UTC",
    ),
    Row(
        "a limit for a day",
        "Gemini",
        frozenset({STREAM, 429}),
        "quota_exhausted",
        "code GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "ogkalu2/comic-translate#403, https://ai.google.dev/gemini-api/docs/rate-limits",
        codes=_any(r".*perday.*"),
        midnight="America/Los_Angeles",
    ),
    Row(
        "a limit of a coding plan",
        "Z.ai",
        frozenset({STREAM, 429}),
        "quota_exhausted",
        "code 1308",
        "hugalafutro/model-hotel#955, dirge-code/dirge#818",
        codes=_any("1308|1310"),
        zone="Asia/Shanghai",
    ),
    Row(
        "used up for now, in Google's words",
        "Gemini, Vertex AI",
        frozenset({STREAM, 429}),
        "rate_limited",
        "Resource has been exhausted (e.g. check quota).",
        "n4ze3m/page-assist#406, google-gemini/gemini-cli#14811",
        words=_any(r"^resource (?:has been )?exhausted"),
    ),
    Row(
        "a quota, or a limit of hours",
        "OpenAI, Ollama Cloud, ChatGPT, Moonshot",
        frozenset({STREAM, 403, 429}),
        "quota_exhausted",
        "you have reached your weekly usage limit, upgrade for higher limits",
        "continuedev/continue#11444, router-for-me/CLIProxyAPI#1666, MoonshotAI/Kimi-K2#5",
        codes=_any(
            "insufficient_quota|billing_hard_limit_reached|usage_limit_(?:reached|exceeded)|quota_exceeded",
            "exceeded_current_quota_error|access_terminated_error",
        ),
        words=_any(
            r"usage limit|\bquota\b",
            r"(?:hourly|daily|weekly|monthly|session|account) (?:\w+ )?(?:limit|allocation)|key limit exceeded",
        ),
    ),
    Row(
        "a busy server, under the status of a limit",
        "Moonshot, Anthropic",
        frozenset({STREAM, 429, 500, 503, 529}),
        "overloaded",
        "code engine_overloaded_error",
        "MoonshotAI/kimi-code#3176, anthropics/anthropic-sdk-typescript#346",
        codes=_any("(?:engine_|server_)?overloaded(?:_error)?"),
        words=_any(r"^(?:the )?engine is currently overloaded|^overloaded$"),
    ),
    Row(
        "too many requests",
        "any",
        frozenset({STREAM, 429}),
        "rate_limited",
        "rate limit exceeded",
        "cline/cline#9085, kaitranntt/ccs#402, MoonshotAI/kimi-cli#901, icereed/paperless-gpt#814",
        codes=_any(
            "rate_limit(?:ed|_exceeded|_error|_reached_error)?|too_many_requests|1302|resource_exhausted"
        ),
        words=_any(
            r"rate.?limit|too many requests|high concurrency|error code: 1015",
            r"(?:tokens|requests) per (?:second|minute)|capacity exceeded|high demand",
        ),
    ),
    Row(
        "no memory, or a model that crashed",
        "Ollama, mlx_lm, LM Studio, vLLM",
        frozenset({400, 404, 500, 503}),
        "overloaded",
        "model requires more system memory (7.5 GiB) than is available (5.2 GiB)",
        "continuedev/continue#12795, continuedev/continue#11241, continuedev/continue#10150, vllm-project/vllm#24495",
        words=_any(
            r"requires more (?:system |gpu )?memory|out of memory|insufficient memory",
            r"unexpectedly stopped|process has terminated|(?:unable|failed) to load\b|error loading model",
            r"model (?:has )?crashed|model is (?:un|re)loaded|enginecore encountered",
        ),
    ),
    Row(
        "busy",
        "Ollama, Gemini, llama.cpp",
        frozenset({500, 502, 503, 529}),
        "overloaded",
        "server busy, please try again. maximum pending requests exceeded",
        "google-gemini/gemini-cli#5191, continuedev/continue#10639, ollama/ollama server/sched.go",
        codes=_any("unavailable(?:_error)?|service_unavailable"),
        words=_any(
            r"overloaded|high demand|temporarily unavailable|loading model|currently loading|\bbusy\b"
        ),
    ),
    Row(
        "an internal error",
        "Ollama Cloud, any",
        frozenset({STREAM, 500}),
        "overloaded",
        "Internal Server Error (ref: bddedf60-d799-48d6-ad1f-6783dcfc8e9b)",
        "tinyhumansai/openhuman#4042, continuedev/continue#10974",
        words=_any(r"^internal server error"),
    ),
    Row(
        "the server behind cannot be reached",
        "Ollama, proxies",
        frozenset({500, 502, 503}),
        "overloaded",
        "dial tcp: lookup ollama.com: no such host",
        "ollama/ollama server/cloud_proxy.go",
        words=_any(
            r"\bdial tcp|no such host|connection (?:refused|reset)|unreachable|bad gateway|upstream connect"
        ),
    ),
    Row(
        "gave the request up",
        "Gemini, Ollama, nginx",
        frozenset({499}),
        "overloaded",
        "The operation was cancelled.",
        "google-gemini/gemini-cli#20309",
    ),
    Row(
        "took too long",
        "OpenAI, Anthropic, proxies",
        frozenset({STREAM, 408, 500, 503, 504, 524}),
        "timeout.total",
        "upstream request timeout",
        "https://docs.anthropic.com/en/api/errors, anthropics/claude-code#16737",
        codes=_any("timeout_error|request_timeout"),
        words=_any(r"\b(?:request|gateway|upstream)\b.{0,20}time(?:d )?-?out|a timeout occurred"),
    ),
)
