import PluginRuntime
import TestSupport
import Testing

/// Texts that a plugin gives as arrays, and the minor of the ABI it asks for, in each SDK.
@Suite struct SDKTextTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    private static let registry = NameRegistry([
        .init("texts", type: "i64[p,c]", producible: [.plan], provider: .plugin, doc: "Texts, a row each.")
    ])

    /// Writes "ab", nothing and "é" into three rows of four; with `row` 3, or a text of five bytes, it fails.
    private static func c(_ more: String = "") -> String {
        """
        #include <craft_plugin.h>
        #define OUT(X) X(i64_array, texts, "texts", "[3,4]")
        CRAFT_HOOK(plan, CRAFT_NONE, OUT) {
            if (craft_write_text(texts, 0, "ab") || craft_write_text(texts, 1, "") || craft_write_text(texts, 2, "\\xc3\\xa9"))
                return craft_fail(error, "no room");
            \(more.isEmpty ? "return CRAFT_OK;" : more)
        }
        static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("plan", plan)};
        static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER_NEEDS(1u, 0), "org.example.texts", "1.0.0", "A test.",
            CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
        CRAFT_PLUGIN_ENTRY(plugin, hooks)
        """
    }

    private static func cpp(_ more: String = "") -> String {
        """
        #include <craft_plugin.hpp>
        struct Texts {
            static constexpr craft::description about{"org.example.texts", "1.0.0", "A test."};
            static constexpr std::uint32_t abi_min_minor = 1;
            void plan(craft::array<std::int64_t> texts) const {
                craft::write_text(texts, 0, "ab");
                craft::write_text(texts, 1, "");
                craft::write_text(texts, 2, "\\xc3\\xa9");
                \(more)
            }
        };
        CRAFT_PLUGIN(Texts, craft::hook<&Texts::plan>("plan", "texts[3,4]"))
        """
    }

    private static func rust(_ more: String = "") -> String {
        """
        use craft_plugin::{hooks, Plugin, Result, Settings};
        struct Texts;
        impl Plugin for Texts {
            const ID: &'static str = "org.example.texts";
            const VERSION: &'static str = "1.0.0";
            const SUMMARY: &'static str = "A test.";
            const ABI_MIN_MINOR: u32 = 1;
            fn new(_: &Settings) -> Result<Self> { Ok(Texts) }
        }
        hooks! { Texts:
            plan fn plan(&mut self) -> (texts: ArrayMut<i64> = "texts[3,4]") {
                texts.write_text(0, "ab")?;
                texts.write_text(1, "")?;
                texts.write_text(2, "é")?;
                \(more)
                Ok(())
            }
        }
        craft_plugin::export!(Texts);
        """
    }

    private func run(_ name: String) throws -> [Int64] {
        #expect(try PluginLibrary(path: plugins.path(name)).abi.minimumMinor == 1)
        let values = ValueStore()
        try plugins.compose(name, registry: Self.registry).run(.plan, values: values, step: 0)
        return values.array("texts").map { Array($0.integers) } ?? []
    }

    private static let written: [Int64] = [97, 98, 0, 0, 0, 0, 0, 0, 0xc3, 0xa9, 0, 0]

    @Test func inC() throws {
        try plugins.build("Texts", Self.c())
        #expect(try run("Texts") == Self.written)
        let refused = """
            if (!craft_write_text(texts, 3, "a") || !craft_write_text(texts, 0, "abcde")) return CRAFT_OK;
            return craft_fail(error, "both");
            """
        try plugins.build("Refused", Self.c(refused))
        let failure = try #require(throws: PluginFailure.self) { try run("Refused") }
        #expect(failure.message == "both", "\(failure)")
    }

    @Test(arguments: [SDKLanguage.cpp, .rust]) func inOthers(_ language: SDKLanguage) throws {
        let source = language == .cpp ? Self.cpp : Self.rust
        try language.build("Texts", source(""), in: plugins)
        #expect(try run("Texts") == Self.written)
        for (name, row, text) in [("Below", 3, "a"), ("Long", 0, "abcde")] {
            let call =
                language == .cpp
                ? "craft::write_text(texts, \(row), \"\(text)\");" : "texts.write_text(\(row), \"\(text)\")?;"
            try language.build(name, source(call), in: plugins)
            let failure = try #require(throws: PluginFailure.self) { try run(name) }
            #expect(failure.message.contains("fit") && failure.message.contains(text), "\(failure)")
        }
    }
}
