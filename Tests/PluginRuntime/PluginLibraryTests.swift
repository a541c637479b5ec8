import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Files that are not plugins, and plugins that lie: each is refused with its own sentence, before any hook is called.
@Suite struct PluginLibraryTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    private func expectRefusal(
        _ path: String, _ cause: PluginLoadError.Cause, _ words: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let error = try #require(throws: PluginLoadError.self, sourceLocation: sourceLocation) {
            try PluginLibrary(path: path)
        }
        #expect(error.cause == cause, "\(error)", sourceLocation: sourceLocation)
        #expect(error.description.contains(words), "\(error)", sourceLocation: sourceLocation)
        #expect(error.description.hasPrefix(path), sourceLocation: sourceLocation)
    }

    @Test func goodPlugin() throws {
        let path = try plugins.build("Sum", CPlugin.sum(["x"], "out.y"))
        let library = try PluginLibrary(path: path)
        #expect(library.id == "org.example.test")
        #expect(library.hooks.map(\.point) == [.postStep])
        #expect(library.hooks[0].signature.description == "x: f64 -> out.y: f64")
        let digest = try Command.run(["sha256sum", path]).output
        #expect(digest.hasPrefix(library.sha256))
    }

    @Test func filesThatAreNoLibraries() throws {
        let text = plugins.path("Text")
        try Data("print('hello')\n".utf8).write(to: URL(fileURLWithPath: text))
        try expectRefusal(text, .notALibrary, "does not begin with an ELF header")

        try expectRefusal(plugins.path("Nowhere"), .missingFile, "no readable file")

        let whole = try Data(contentsOf: URL(fileURLWithPath: plugins.build("Whole", CPlugin.sum(["x"], "out.y"))))
        for count in [4, 63, 64, 4096, whole.count - 1] {
            let cut = plugins.path("Cut\(count)")
            try whole.prefix(count).write(to: URL(fileURLWithPath: cut))
            try expectRefusal(cut, .notALibrary, "truncated")
        }
    }

    @Test func librariesThatAreNoPlugins() throws {
        let plain = try plugins.build("Plain", "int answer(void); int answer(void) { return 42; }")
        try expectRefusal(plain, .missingEntry, "no symbol 'craft_plugin_entry'")

        let needy = try plugins.build(
            "Needy", "extern int nobody_has_this(void); int call(void); int call(void) { return nobody_has_this(); }")
        try expectRefusal(needy, .openFailed, "nobody_has_this")
    }

    /// A plugin with no hook of its own and a table written by hand.
    private func table(_ fields: String, hooks: String = "") -> String {
        """
        #include <craft_plugin.h>
        \(hooks.isEmpty ? "CRAFT_HOOK(nothing, CRAFT_NONE, CRAFT_NONE) { return CRAFT_OK; }" : hooks)
        static craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.bad", "1.0.0", "Bad.",
            CRAFT_NO_TABLE(craft_parameter), CRAFT_NO_TABLE(craft_hook), NULL, NULL, NULL, NULL, NULL, NULL};
        CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) { \(fields) return &plugin; }
        """
    }

    private static let useHook = """
        static craft_hook hook = CRAFT_HOOK_ENTRY("post_step", nothing);
        hook.signature_hash = craft_signature_hash(hook.signature, hook.codes);
        plugin.hooks = &hook; plugin.hook_count = 1;
        """

    @Test(arguments: [
        ("plugin.abi_major = 2;", PluginLoadError.Cause.abiMajor, "built for plugin ABI 2, this host speaks ABI 1.2"),
        ("plugin.abi_min_minor = 7;", .abiMinor, "needs plugin ABI 1.7 or later, this host speaks ABI 1.2"),
        ("plugin.struct_size = 16;", .structSize, "its table says it has 16 bytes"),
        ("plugin.hook_size = 8;", .structSize, "its hook rows have 8 bytes"),
        ("plugin.id = NULL;", .table, "lacks 'id'"),
        ("plugin.version = \"\";", .table, "empty 'version'"),
        ("plugin.hook_count = 0;", .table, "declares no hook"),
        ("plugin.hooks = NULL;", .table, "declares 1 hooks at NULL"),
        ("plugin.hook_count = 100000;", .table, "at most 1024"),
        ("hook.point = \"post_stop\";", .table, "did you mean 'post_step'?"),
        ("hook.function = NULL;", .table, "no function (NULL)"),
        ("hook.call = 9;", .table, "unknown call form 9"),
        ("hook.signature = \"x f64 ->\";", .signature, "'x f64' has no type"),
        ("hook.signature = \"x: f64 ->\";", .signatureHash, "1 items, the function takes 0 arguments"),
        ("hook.signature_hash++;", .signatureHash, "signature hash of its post_step hook is wrong"),
        ("return NULL;", .table, "returned NULL"),
    ])
    func lyingTables(change: String, cause: PluginLoadError.Cause, words: String) throws {
        try expectRefusal(try plugins.build("Bad", table(Self.useHook + change)), cause, words)
    }

    /// What nothing noticed before there were codes: the string says f64, the function takes a pointer.
    @Test func signatureThatDoesNotDescribeTheFunction() throws {
        let hooks = """
            #define IN(X) X(f64_array, gram, "gram", "[m,m]")
            CRAFT_HOOK(nothing, IN, CRAFT_NONE) { return CRAFT_OK; }
            """
        let source = table(Self.useHook + "hook.signature = \"gram: f64 ->\";", hooks: hooks)
        try expectRefusal(
            try plugins.build("Liar", source), .signatureHash,
            "says 'gram: f64', passed as double, but the function takes const craft_array *")
    }

    @Test(arguments: [
        (#"{"rate", CRAFT_F64, 0, NULL, 0, 1, NULL, "Rate."}"#, "has no default"),
        (#"{"rate", CRAFT_F64, 0, "fast", 0, 1, NULL, "Rate."}"#, "default of setting 'rate' is not valid"),
        (#"{"rate", CRAFT_F64, 0, "2", 0, 1, NULL, "Rate."}"#, "out of range"),
        (#"{"rate", 9, 0, "2", 0, 1, NULL, "Rate."}"#, "unknown type 9"),
        (#"{"a rate", CRAFT_F64, 0, "0", 0, 1, NULL, "Rate."}"#, "cannot name a setting"),
        (#"{"instance", CRAFT_F64, 0, "0", 0, 1, NULL, "Rate."}"#, "reserved"),
        (#"{"a", CRAFT_BOOL, 0, "no", 0, 0, NULL, ""}, {"a", CRAFT_BOOL, 0, "no", 0, 0, NULL, ""}"#, "twice"),
    ])
    func badParameters(rows: String, words: String) throws {
        let change = """
            static const craft_parameter rows[] = {\(rows)};
            plugin.parameters = rows; plugin.parameter_count = sizeof rows / sizeof rows[0];
            """
        try expectRefusal(try plugins.build("Bad", table(Self.useHook + change)), .table, words)
    }

    @Test func cards() throws {
        func source(_ card: String) -> String {
            CPlugin.sum(["x"], "out.y")
                .replacing("static const craft_plugin plugin", with: card + "\nstatic const craft_plugin plugin")
                .replacing("NULL, NULL, NULL, NULL, NULL, NULL}", with: "NULL, NULL, NULL, NULL, NULL, card}")
        }
        let whole = source(#"CRAFT_CARD(card, "y = x + 1", "Peano (1889).")"#)
        let library = try PluginLibrary(path: plugins.build("Card", whole))
        #expect(library.formula == "y = x + 1" && library.reference == "Peano (1889).")
        try library.checkEntry()
        let short = source(
            "static const void *card(const char *id) { static const uint32_t size = 8; return id ? &size : 0; }")
        try expectRefusal(plugins.build("Short", short), .structSize, "card says it has 8 bytes")
    }

    /// A later minor may append to the table and to its rows.
    @Test func longerTablesAreAccepted() throws {
        let change = """
            static struct { craft_plugin plugin; uint64_t later[4]; } longer;
            static struct { craft_hook hook; uint64_t later[2]; } rows[2];
            rows[0].hook = hook; rows[1].hook = hook;
            longer.plugin = plugin;
            longer.plugin.struct_size = sizeof longer;
            longer.plugin.hooks = &rows[0].hook; longer.plugin.hook_count = 2; longer.plugin.hook_size = sizeof rows[0];
            return &longer.plugin;
            """
        let library = try PluginLibrary(path: plugins.build("Later", table(Self.useHook + change)))
        #expect(library.hooks.count == 2)
    }
}
