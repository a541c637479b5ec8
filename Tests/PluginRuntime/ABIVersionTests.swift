import Foundation
import PluginAPI
import PluginRuntime
import TestSupport
import Testing

/// Plugins and hosts of different minors, with libraries compiled against the header of each.
///
/// `Tests/Fixtures/abi/craft_plugin-1.N.h` is the header of ABI 1.N as it was published: it never changes. The header of a
/// later minor than the host's is made from that of 1.0 here, with members appended to every struct a plugin fills.
@Suite struct ABIVersionTests {
    let plugins: CPlugin
    private static let published = BuildFolder.fixture("abi/craft_plugin-1.0.h")

    init() throws { plugins = try CPlugin() }

    /// A plugin that adds 1 to `x` and tells the host's minor, compiled against a header given as text.
    private func build(_ name: String, header: String, needs minor: Int, _ fill: String = "") throws -> String {
        let folder = plugins.folder.url.appendingPathComponent("include-\(name)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(header.utf8).write(to: folder.appendingPathComponent("craft_plugin.h"))
        let source = """
            #include <craft_plugin.h>
            #define IN(X) X(f64, x, "x", "")
            #define OUT(X) X(f64, y, "out.y", "") X(i64, minor, "count.minor", "")
            static int64_t host_minor;
            CRAFT_HOOK(add, IN, OUT) { *y = x + 1; *minor = host_minor; return CRAFT_OK; }
            static int32_t create(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
                (void)error;
                host_minor = host->abi_minor;
                *self = NULL;
                return settings->count == 1 && craft_setting_at(settings, 0)->f64 == 0.5 ? CRAFT_OK : CRAFT_FAILED;
            }
            static const craft_parameter parameters[] = {{.name = "rate", .type = CRAFT_F64, .default_value = "0.5",
                .minimum = 0, .maximum = 1, .doc = "Rate."}};
            static craft_hook hooks[1];
            static craft_plugin plugin;
            CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) {
                static const craft_hook add_hook = CRAFT_HOOK_ENTRY("post_step", add);
                hooks[0] = add_hook;
                hooks[0].signature_hash = craft_signature_hash(hooks[0].signature, hooks[0].codes);
                plugin.struct_size = sizeof plugin;
                plugin.abi_major = CRAFT_ABI_MAJOR;
                plugin.abi_min_minor = \(minor);
                plugin.id = "org.example.\(name)"; plugin.version = "1"; plugin.summary = "Adds.";
                plugin.parameters = parameters; plugin.parameter_count = 1; plugin.parameter_size = sizeof parameters[0];
                plugin.hooks = hooks; plugin.hook_count = 1; plugin.hook_size = sizeof hooks[0];
                plugin.create = create;
                \(fill)
                return &plugin;
            }
            """
        let file = plugins.folder.path("\(name).c")
        try Data(source.utf8).write(to: URL(fileURLWithPath: file))
        let result = try Command.run([
            "cc", "-std=c99", "-Wall", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", folder.path,
            file, "-o", plugins.path(name),
        ])
        try #require(result.status == 0, "\(result.output)")
        return plugins.path(name)
    }

    private func header(ofLaterMinor later: Bool) throws -> String {
        var text = try String(contentsOf: Self.published, encoding: .utf8)
        guard later else { return text }
        text = text.replacingOccurrences(of: "#define CRAFT_ABI_MINOR 0u", with: "#define CRAFT_ABI_MINOR 9u")
        for (end, member) in [
            ("} craft_plugin;", "const void *(*later)(void *self);"), ("} craft_hook;", "uint64_t later[2];"),
            ("} craft_parameter;", "const char *later;"),
        ] {
            try #require(text.contains(end))
            text = text.replacingOccurrences(of: end, with: "    \(member)\n\(end)")
        }
        return text
    }

    private func run(_ path: String, host: PluginLibrary.ABIVersion) throws -> Double? {
        let instance = try PluginInstance(
            library: PluginLibrary(path: path, host: host), request: PluginRequest(name: path))
        let values = ValueStore()
        values.set("x", 2.0)
        try instance.run(.postStep, values: values, step: 0)
        #expect(values.integer("count.minor") == Int64(CRAFT_ABI_MINOR))
        return values.double("out.y")
    }

    private let old = PluginLibrary.ABIVersion(major: 1, minor: 0)
    private let new = PluginLibrary.ABIVersion(major: 1, minor: 9)

    /// An old plugin runs on every later host.
    @Test func oldPluginOnNewHost() throws {
        let path = try build("Old", header: header(ofLaterMinor: false), needs: 0)
        for host in [old, new, .current] { #expect(try run(path, host: host) == 3) }
    }

    /// Plugins compiled against every published header give this host what one compiled against its own header gives: scalars and
    /// arrays, written and left out, integers partly written, with state.
    @Test(arguments: ["1.0", "1.1"]) func publishedHeaders(_ version: String) throws {
        let header = try String(contentsOf: BuildFolder.fixture("abi/craft_plugin-\(version).h"), encoding: .utf8)
        let source = """
            #include <craft_plugin.h>
            #define IN(X) X(f64_array, m, "matrix", "[r,c]") X(optional_f64, x, "x", "") X(i64_array, ids, "ids", "[r]")
            #define OUT(X) X(f64_array, twice, "like.matrix", "[r,c]") X(optional_f64, some, "out.some", "") \\
                X(optional_f64, none, "out.none", "") X(optional_i64, zero, "count.zero", "") X(i64_array, list, "list.a", "[r]") \\
                X(optional_i64_array, left, "list.left", "[r]")
            CRAFT_HOOK(every, IN, OUT) {
                int64_t i;
                for (i = 0; i < craft_count(m); i++) craft_write_f64(twice)[i] = 2 * craft_read_f64(m)[i];
                craft_write_i64(list)[1] = craft_read_i64(ids)[1];
                *some = x ? *x : -1;
                *zero = 0;
                (void)none; (void)left;
                return CRAFT_OK;
            }
            static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("pre_backward", every)};
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.published", "1.0.0", "A test.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """
        let current = try String(contentsOfFile: CPlugin.include + "/craft_plugin.h", encoding: .utf8)
        for (name, header) in [("Published", header), ("Now", current)] {
            for form in ["", "-DCRAFT_CALL_FRAMES"] {
                let folder = plugins.folder.url.appendingPathComponent("\(name)\(form)")
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                try Data(header.utf8).write(to: folder.appendingPathComponent("craft_plugin.h"))
                try Data(source.utf8).write(to: folder.appendingPathComponent("plugin.c"))
                let path = folder.appendingPathComponent("lib\(name).so").path
                let built = try Command.run(
                    ["cc", "-std=c99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I."]
                        + (form.isEmpty ? [] : [form]) + ["plugin.c", "-o", path], in: folder)
                try #require(built.status == 0, "\(built.output)")
                let matrix = TestArray<Double>([1, 2, 3, 4], shape: [2, 2])
                let ids = TestArray<Int64>([5, 6], shape: [2])
                let values = ValueStore()
                values.set("matrix", matrix.view)
                values.set("ids", ids.view)
                values.set("x", 3.0)
                try plugins.compose(path).run(.preBackward, values: values, step: 0)
                #expect(values.array("like.matrix")?.doubles.map { $0 } == [2, 4, 6, 8])
                #expect(values.double("out.some") == 3 && values.double("out.none") == nil)
                #expect(values.integer("count.zero") == 0)
                #expect(values.array("list.a")?.integers.map { $0 } == [0, 6])
                #expect(values.array("list.left") == nil)
            }
        }
    }

    /// A plugin compiled against a later header runs on an old host as long as it needs nothing of what is new.
    @Test func newPluginOnOldHost() throws {
        let modest = try build("Modest", header: header(ofLaterMinor: true), needs: 0)
        for host in [old, new] { #expect(try run(modest, host: host) == 3) }

        let needy = try build("Needy", header: header(ofLaterMinor: true), needs: 9)
        #expect(try run(needy, host: new) == 3)
        let error = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: needy, host: old) }
        #expect(error.cause == .abiMinor)
        #expect(error.description.contains("it needs plugin ABI 1.9 or later, this host speaks ABI 1.0"), "\(error)")
        #expect(error.description.contains("use a newer craft, or build the plugin to need less"))
    }

    @Test func anotherMajorIsRefusedBothWays() throws {
        let path = try build("Old", header: header(ofLaterMinor: false), needs: 0)
        let future = PluginLibrary.ABIVersion(major: 2, minor: 0)
        let error = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: path, host: future) }
        #expect(error.description.contains("built for plugin ABI 1, this host speaks ABI 2.0"), "\(error)")
        let other = try build(
            "Other", header: header(ofLaterMinor: false), needs: 0, "plugin.abi_major = 2;")
        let reverse = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: other) }
        #expect(reverse.description.contains("built for plugin ABI 2, this host speaks ABI 1."), "\(reverse)")
    }

    /// Sizes are compared with >=: exactly ABI 1.0 is enough, a byte less is not.
    @Test(arguments: ["struct_size", "hook_size", "parameter_size"]) func sizes(_ member: String) throws {
        let size = [
            "struct_size": CRAFT_PLUGIN_SIZE_1_0, "hook_size": CRAFT_HOOK_SIZE_1_0,
            "parameter_size": CRAFT_PARAMETER_SIZE_1_0,
        ][member]
        let least = try #require(size)
        let header = try header(ofLaterMinor: false)
        let exact = try build("Exact", header: header, needs: 0, "plugin.\(member) = \(least);")
        #expect(try run(exact, host: .current) == 3)
        let short = try build("Short", header: header, needs: 0, "plugin.\(member) = \(least - 1);")
        let error = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: short) }
        #expect(error.cause == .structSize && error.description.contains("\(least - 1) bytes"), "\(error)")
    }

    /// A host whose structs have grown reads the shorter ones of older plugins, the rest as 0, row after row.
    @Test func aLongerHostReadsShorterStructs() {
        struct Old { var a: Int64, b: Int64 }
        struct New { var a: Int64, b: Int64, later: Int64, last: Int64 }
        let rows = [Old(a: 1, b: 2), Old(a: 3, b: 4)]
        rows.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            let read: [New] = PluginTable.rows(at: start, count: 2, size: MemoryLayout<Old>.stride)
            #expect(read.map(\.a) == [1, 3] && read.map(\.b) == [2, 4])
            #expect(read.allSatisfy { $0.later == 0 && $0.last == 0 })
            let cut: [Old] = PluginTable.rows(at: start, count: 1, size: 2 * MemoryLayout<Old>.stride)
            #expect(cut.map(\.b) == [2])
        }
    }

    /// A later minor adds names. A plugin of 1.0 does not notice; one that reads a new name is refused by an older registry
    /// in words, unless the name is optional to it and the host has it.
    @Test func registriesOfDifferentMinors() throws {
        let old = try build("Old", header: header(ofLaterMinor: false), needs: 0)
        let extended = NameRegistry(
            NameRegistry.test.entries + [
                .init("later", type: "f64", readable: [.postStep], provider: .host, doc: "A name of a later minor.")
            ])
        for registry in [NameRegistry.test, extended] {
            let composition = try plugins.compose("\(old)", registry: registry)
            let values = ValueStore()
            values.set("x", 1.0)
            values.set("later", 5.0)
            try composition.run(.postStep, values: values, step: 0)
            #expect(values.double("out.y") == 2)
        }
        try plugins.build("Reads", CPlugin.sum(["later"], "out.sum"))
        _ = try plugins.compose("Reads", registry: extended)
        let problem = try #require(try plugins.problems("Reads").first)
        #expect(problem.kind == .unknownName && problem.name == "later")
        #expect(problem.problem == "the host knows no value of this name")
    }

    /// A plugin that needs the names of 1.1 says so in its table, in C and in the kits: hosts before it refuse the file.
    @Test func pluginsThatNeedProbes() throws {
        let source = CPlugin.source(
            "CRAFT_HOOK(nothing, CRAFT_NONE, CRAFT_NONE) { return CRAFT_OK; }",
            table: "CRAFT_HOOK_ENTRY(\"post_step\", nothing)")
        let needs = source.replacingOccurrences(
            of: "CRAFT_PLUGIN_HEADER(0)", with: "CRAFT_PLUGIN_HEADER_NEEDS(1u, 0)")
        let paths = [
            try plugins.build("NeedsProbes", needs), BuildFolder.plugin("ProbeTokens"), BuildFolder.plugin("GradVac"),
        ]
        for path in paths {
            #expect(try PluginLibrary(path: path).abi.minimumMinor == 1)
            let error = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: path, host: old) }
            #expect(error.cause == .abiMinor)
            #expect(
                error.description.contains("it needs plugin ABI 1.1 or later, this host speaks ABI 1.0"), "\(error)")
        }
        for path in [try plugins.build("NeedsNothing", source), BuildFolder.plugin("BaselineL1")] {
            #expect(try PluginLibrary(path: path, host: old).abi.minimumMinor == 0)
        }
    }

    /// Every name that a header was published with is still there, with its type, at its points.
    @Test(arguments: [("1.0", 25), ("1.1", 45)]) func namesKeepTheirMeaning(_ version: String, _ atLeast: Int) throws {
        let steps = ["pre_backward", "gradient_combine", "post_step"]
        func points(_ text: some StringProtocol) -> [String] {
            switch text.trimmingCharacters(in: .whitespaces) {
            case "everywhere": ["plan"] + steps
            case "after plan": steps
            case "-": []
            case let list: list.components(separatedBy: ", ")
            }
        }
        let header = try String(contentsOf: BuildFolder.fixture("abi/craft_plugin-\(version).h"), encoding: .utf8)
        let list = header.components(separatedBy: "/* names: begin */").last ?? ""
        var count = 0
        for line in list.split(separator: "\n") {
            guard let row = line.firstMatch(of: /^ \* (\S+): (.+?)      (.+) \| (.+)$/) else { continue }
            count += 1
            let entry = NameRegistry.training.entries.first { $0.pattern.description == row.1 }
            let now = try #require(entry, "\(row.1) is gone")
            #expect(now.type == row.2, "\(row.1)")
            #expect(Set(points(row.3)).isSubset(of: now.readable.map(\.rawValue)), "\(row.1)")
            #expect(Set(points(row.4)).isSubset(of: now.producible.map(\.rawValue)), "\(row.1)")
        }
        #expect(count > atLeast)
    }

    /// The published header of 1.0 and the current one describe the same structs up to where 1.0 ends.
    @Test func theCurrentHeaderOnlyAppends() throws {
        let source = """
            #include <craft_plugin.h>
            #define AT(type, member) printf(#type "." #member " %zu\\n", offsetof(type, member))
            int main(void) {
                AT(craft_plugin, state_version); AT(craft_plugin, hooks); AT(craft_plugin, create); AT(craft_plugin, reset);
                AT(craft_plugin, extension); AT(craft_parameter, default_value); AT(craft_parameter, doc);
                AT(craft_hook, signature_hash); AT(craft_hook, call); AT(craft_hook, context); AT(craft_array, shape);
                AT(craft_array, flags); AT(craft_setting, text); AT(craft_settings, instance); AT(craft_host, log);
                AT(craft_output, write); AT(craft_input, read); AT(craft_error, message);
                return 0;
            }
            """
        var layouts: [String] = []
        let current = try String(contentsOfFile: CPlugin.include + "/craft_plugin.h", encoding: .utf8)
        for (name, header) in [("old", try header(ofLaterMinor: false)), ("now", current)] {
            let folder = plugins.folder.url.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(header.utf8).write(to: folder.appendingPathComponent("craft_plugin.h"))
            try Data(source.utf8).write(to: folder.appendingPathComponent("layout.c"))
            let result = try Command.run(
                ["bash", "-c", "cc -std=c99 -I. layout.c -o layout && ./layout"], in: folder)
            try #require(result.status == 0, "\(result.output)")
            layouts.append(result.output)
        }
        #expect(layouts[0] == layouts[1])
    }
}
