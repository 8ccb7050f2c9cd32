"""Policies as text for the tests of this folder, and how they are read."""

from __future__ import annotations

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.report.errors import PolicyError
from routewright.engine.report.problems import Problem

__all__ = ["HEAD", "WHOLE", "compiled", "problems_of"]

HEAD = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { mlx: { kind: mlx }, ollama: { kind: ollama } }
  models:
    small: { backend: mlx, capabilities: [vision] }
    large: { backend: ollama, tag: "large:cloud" }
features:
  urgent: { type: boolean, default: false }
  tokens: { type: integer, minimum: 0 }
  kind: { type: string, enum: [chat, embedding], default: chat }
"""
"""All of a small policy but its rules."""

WHOLE = """\
routewright: 1
name: p
description: every key there is
catalog:
  routewright: 1
  name: c
  backends:
    mlx:
      kind: mlx
      description: d
      path: ${MODELS}/mlx
      memory_gb: 48
      disabled: false
      disabled_reason: r
      operations: [chat, embed]
      timeouts: { connect: 1s, load: 1s, first_token: 1s, idle: 1s, total: 1s }
    ollama:
      kind: ollama
      host: https://ollama.com
      api_key: ${KEY}
      location: cloud
      requires_signin: false
      min_version: 0.1.2
      memory_gb: 24
      headers: { X-Title: t }
      query: { v: w }
      proxy: http://proxy.example.org:3128
    staying:
      kind: openai
      host: http://localhost:8080/v1
      api_key: ${KEY}
      stays: true
      health: http://localhost:8080/health
      concurrency: 2
      key_header: api-key
      headers: { X-Title: t }
      query: { v: w }
    file: { kind: llamacpp, concurrency: 2, threads: 4 }
    planned: { kind: simulated }
  models:
    a:
      backend: mlx
      tag: t
      path: models/a
      source: s
      aliases: [aa]
      description: d
      operations: [chat]
      capabilities: [vision]
      recommended_for: [z]
      architecture: dense
      total_parameters: 1T
      active_parameters: 32B
      quantization: q
      context_length: 100
      max_output_tokens: 10
      embedding_space: e
      dimensions: 5
      memory_gb: 1.5
      size_bytes: 5
      price: { input: 1, cached_input: 0.5, output: 2, currency: USD, since: '2026-01-01' }
      expected_latency: 5s
      disabled: false
      disabled_reason: r
    b: { backend: ollama }
    c: { backend: mlx }
    served: { backend: ollama, min_version: '1.2', keep_alive: 5m }
    stayed: { backend: staying }
    filed: { backend: file, path: /models/filed.gguf, pooling: mean, preload: true }
features:
  x: { type: boolean, default: false, needs: vision, description: d, sensitive: false, unit: u }
  n: { type: integer, minimum: 0, maximum: 10, default: 5, from: request.prompt_tokens }
  h: { type: integer, from: time.hour, timezone: UTC }
  l: { type: array, items: string, enum: [a, b], default: [a] }
  o: { type: string, enum: [a, b], from: request.metadata.o, on_other: unknown }
constraints:
  - { name: c1, description: d, when: x, require: model.backend == 'mlx', reason: r, disabled: false }
rules:
  - name: r1
    description: d
    when: x
    use: [a, b]
    choose: split
    split: { weights: { a: 1, b: 2 }, key: n, salt: s }
    sticky: session
    fallback: ch
    reason: r
    on_unknown: skip
    disabled: false
    steps:
      - { draft: { with: a, required: true } }
      - { verify: { with: a, on_reject: retry } }
      - { refine: { with: a, rounds: 2 } }
      - { screen: { with: a, on: both } }
  - name: r2
    when: { any: [x, n > 5] }
    ensemble: { members: [a, b], combine: vote, quorum: 1, label: (a) }
    fallback: [a]
  - { name: r3, ensemble: { members: [a, b], combine: judge, judge: a } }
  - { name: r4, ensemble: { members: [a, b], combine: consensus_or_override, override: a } }
chains:
  ch: [a, { model: b, disabled: true, reason: r }]
controls:
  - name: q
    description: d
    disabled: false
    on: [a]
    for_each: n
    max_requests: 100
    per: day
    timezone: UTC
  - { name: q2, on: a, max_cost: 5 USD, per: day, unknown_cost: allow }
  - { name: q3, max_tokens: 5, per: day }
  - { name: q4, max_concurrent: 5 }
  - { name: q5, max_cost: 5 USD, per: request }
  - { name: l, lease: 1m }
  - { name: rs, of: q, reserve: 20%, for: x }
  - { name: f, first_token_within: 5s }
  - { name: ca, cache_ttl: 1h, cache_by: [n] }
  - { name: re, max_attempts: 5, backoff: 1s, deadline: 1m }
assertions:
  - { name: as, description: d, never: x, reason: r }
  - { always: x }
rollout: { candidate: f.yaml, mode: canary, percent: 5%, key: n, salt: s,
  abort_when: [{ metric: cost, is: above, times: 1.5, plus: 0.5 }], promote_when: [{ metric: success, is: above }] }
"""
"""A policy that uses every key."""


def compiled(text: str, source: str = "p.yaml") -> CompiledPolicy:
    """The policy in ``text``, which holds its catalog itself."""
    return compile_policy(read_policy(text, source))


def problems_of(text: str, source: str = "p.yaml") -> tuple[Problem, ...]:
    """The problems of the policy in ``text``, none where it compiles."""
    try:
        compiled(text, source)
    except PolicyError as error:
        return error.problems
    return ()
