import Data
import Foundation
import TestSupport
import Testing

/// Expected texts are those of `apply_chat_template`.
@Suite struct ChatTemplateTests {
    typealias Message = ChatTemplate.Message

    static let chat = [Message(role: "user", content: "  Hi "), Message(role: "assistant", content: "Yes.")]

    private func render(
        _ template: String, _ messages: [Message] = chat, prompt: Bool = true, tokens: [String: String] = [:]
    ) throws -> String {
        try ChatTemplate(template, specialTokens: tokens, source: "t.json").render(
            messages, addingGenerationPrompt: prompt)
    }

    private func message(_ template: String) -> String {
        dataError { _ = try render(template) }?.description ?? "no error"
    }

    @Test func chatML() throws {
        let template =
            "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        #expect(
            try render(template)
                == "<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\n  Hi <|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>assistant\n"
        )
        #expect(
            try render(template, [Message(role: "system", content: "S")], prompt: false)
                == "<|im_start|>system\nS<|im_end|>\n")
    }

    @Test func llama3() throws {
        let template =
            "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
        #expect(
            try render(template, tokens: ["bos_token": "<B>"])
                == "<B><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        )
    }

    @Test func statementsOnLinesOfTheirOwn() throws {
        let template = """
            {%- if tools %}
                {{- 'tools' }}
            {%- endif %}
            {# a comment #}
            {%- set ns = namespace(seen=false) -%}
            {% for m in messages[1:] if m.role is defined %}
                {% set ns.seen = true %}
            [{{ m.role | upper }}:{{ m['content'].split('.')[0] }}]
            {% else %}
            none
            {% endfor %}
            {{ 'seen' if ns.seen and not m is defined else 'not' }}{{ messages | length ~ '!' }}

            """
        // As Jinja 3.1 with trim_blocks and lstrip_blocks renders it.
        #expect(try render(template) == "[ASSISTANT:Yes]\nseen2!")
    }

    @Test func whatIsNotSupportedIsAnError() {
        #expect(message("{% macro f() %}{% endmacro %}").contains("'macro' is not supported"))
        #expect(message("{{ 1 | frobnicate }}").contains("the filter 'frobnicate'"))
        #expect(message("{% for x in messages %}").contains("before the end"))
        #expect(
            message("{{ raise_exception('roles must alternate') }}").contains("the template says: roles must alternate")
        )
        #expect(message("{{ 'a").contains("not closed"))
        #expect(message("{{ nothing.more }}").contains("undefined value"))
        #expect(
            message("{{ " + String(repeating: "(", count: 100) + "1" + String(repeating: ")", count: 100) + " }}")
                .contains("64 deep"))
        #expect(
            message("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}").contains("an end"))
        #expect(message("{{ 9223372036854775807 + 1 }}{{ messages[9223372036854775807] }}") == "no error")
    }
}
