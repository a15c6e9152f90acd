"""The chat template saved beside a tokenizer: what schemas.chat_render gives, for `transformers`, vLLM and their like.

Ours, written anew. The texts it gives are those of the published templates of Qwen3 (hybrid), Qwen3-Instruct-2507 and
Qwen3-VL-Instruct (instruct), and Qwen3-VL-Thinking (thinking), as docs/chat.md says in detail; and it places audio.
"""

from __future__ import annotations

import re

from schemas.chat import FORMATS, ChatFormat
from schemas.chat_render import TOOLS_FORM, TOOLS_HEAD, TOOLS_TAIL

#: the file's name in a tokenizer's folder, where `transformers` looks for it
TEMPLATE_NAME = "chat_template.jinja"

_MARK = re.compile(r"set format = '(\w+)'")

_TEMPLATE = r"""{#- Conversations as sluice renders them: the ChatML of the Qwen3 family. -#}
{%- set format = 'FORMAT' -%}

{%- macro shown(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- elif content -%}
        {%- for part in content -%}
            {%- if part.type in ('image', 'image_url', 'input_image') -%}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
            {%- elif part.type in ('video', 'video_url', 'input_video') -%}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
            {%- elif part.type in ('audio', 'audio_url', 'input_audio') -%}
                {{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}
            {%- else -%}
                {{- part.text -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}

{%- macro turn(role, words) -%}
    {{- '<|im_start|>' + role + '\n' + words + '<|im_end|>\n' -}}
{%- endmacro -%}

{#- The last question: everything the assistant writes after it belongs to one answer. -#}
{%- set last = namespace(query=messages | length - 1, found=false) -%}
{%- for message in messages | reverse -%}
    {%- set words = shown(message.content) -%}
    {%- set is_response = words.startswith('<tool_response>') and words.endswith('</tool_response>') -%}
    {%- if message.role == 'user' and not last.found and not is_response -%}
        {%- set last.query = loop.revindex0 -%}
        {%- set last.found = true -%}
    {%- endif -%}
{%- endfor -%}

{%- if tools -%}
    {{- '<|im_start|>system\n' -}}
    {%- if messages[0].role == 'system' -%}
        {{- shown(messages[0].content) + '\n\n' -}}
    {%- endif -%}
    {{- 'TOOLS_HEAD' -}}
    {%- for tool in tools -%}
        {{- '\n' + tool | tojson -}}
    {%- endfor -%}
    {{- 'TOOLS_TAIL' -}}
    {{- '<|im_end|>\n' -}}
{%- endif -%}

{%- for message in messages -%}
    {%- set words = shown(message.content) -%}
    {%- if message.role == 'assistant' -%}
        {{- '<|im_start|>assistant\n' -}}
        {%- if format != 'instruct' -%}
            {%- set thoughts = message.reasoning_content if message.reasoning_content is string else '' -%}
            {%- if message.reasoning_content is not string and '</think>' in words -%}
                {%- set thoughts = words.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') -%}
                {%- set words = words.split('</think>')[-1].lstrip('\n') -%}
            {%- endif -%}
            {%- if loop.index0 > last.query and (loop.last or thoughts) -%}
                {{- '<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' -}}
                {%- set words = words.lstrip('\n') -%}
            {%- endif -%}
        {%- endif -%}
        {{- words -}}
        {%- for call in message.tool_calls or [] -%}
            {%- set call = call.function or call -%}
            {{- '\n' if words or not loop.first else '' -}}
            {{- '<tool_call>\n{"name": "' + call.name + '", "arguments": ' -}}
            {{- call.arguments if call.arguments is string else call.arguments | tojson -}}
            {{- '}\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\n' -}}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or loop.previtem.role != 'tool' -%}
            {{- '<|im_start|>user' -}}
        {%- endif -%}
        {{- '\n<tool_response>\n' + words + '\n</tool_response>' -}}
        {%- if loop.last or loop.nextitem.role != 'tool' -%}
            {{- '<|im_end|>\n' -}}
        {%- endif -%}
    {%- elif message.role == 'user' or not loop.first or not tools -%}
        {{- turn(message.role, words) -}}
    {%- endif -%}
{%- endfor -%}

{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
    {%- if format == 'thinking' -%}
        {{- '<think>\n' -}}
    {%- elif format == 'hybrid' and enable_thinking is defined and enable_thinking is false -%}
        {{- '<think>\n\n</think>\n\n' -}}
    {%- endif -%}
{%- endif -%}
"""


def chat_template(format: ChatFormat) -> str:
    """The template of a format, in Jinja as `transformers` runs it."""
    form = f"<tool_call></tool_call> XML tags:\n<tool_call>{TOOLS_FORM}</tool_call>"
    text = _TEMPLATE.replace("FORMAT", format, 1)
    for name, words in (("TOOLS_HEAD", TOOLS_HEAD), ("TOOLS_TAIL", TOOLS_TAIL + form)):
        text = text.replace(name, words.replace("\n", "\\n"))
    return text


def format_of(template: str) -> ChatFormat:
    """The format a template is in: ours says so; of a published one, how its prompts for an answer end tells it."""
    mark = _MARK.search(template)
    if mark is not None:
        return next((known for known in FORMATS if known == mark[1]), "instruct")
    if "enable_thinking" in template:
        return "hybrid"
    tail = template[template.rfind("add_generation_prompt") :].replace("\\n", "\n")
    return "thinking" if "<|im_start|>assistant\n<think>\n" in tail else "instruct"
