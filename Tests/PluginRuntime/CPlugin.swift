import Foundation
import PluginRuntime
import Synchronization
import TestSupport
import Testing

/// Plugins in plain C, compiled by the system's compiler against the header alone.
struct CPlugin {
    static let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path

    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Compiles `source` to `lib<name>.so` and returns its path.
    @discardableResult
    func build(_ name: String, _ source: String, compiler: [String] = ["cc", "-std=c99"]) throws -> String {
        let key = (compiler + [source]).joined(separator: "\u{0}")
        if let built = Self.built.withLock({ $0[key] }) {
            // A new file, not new content: an earlier library of this name may be mapped.
            try built.write(to: URL(fileURLWithPath: path(name)), options: .atomic)
            return path(name)
        }
        let result = try compile(name, source, compiler: compiler)
        try #require(result.status == 0, "\(result.output)")
        let library = try Data(contentsOf: URL(fileURLWithPath: path(name)))
        Self.built.withLock { $0[key] = library }
        return path(name)
    }

    /// Libraries by compiler and source: tests share most of theirs.
    private static let built = Mutex<[String: Data]>([:])

    func compile(
        _ name: String, _ source: String, compiler: [String] = ["cc", "-std=c99"]
    ) throws -> Command.Result {
        let file = folder.path("\(name).\(compiler[0].hasSuffix("++") ? "cc" : "c")")
        try Data(source.utf8).write(to: URL(fileURLWithPath: file))
        return try Command.run(
            compiler + [
                "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", Self.include,
                file, "-o", path(name),
            ])
    }

    func path(_ name: String) -> String { folder.path("lib\(name).so") }

    var search: PluginSearch { PluginSearch(paths: [folder.url.path]) }

    /// The problems a list of plugins has; fails the test when it has none.
    func problems(_ list: String, registry: NameRegistry = .test) throws -> [CompositionProblem] {
        do {
            _ = try Composition(PluginRequest.parseList(list), search: search, registry: registry)
        } catch let error as CompositionError {
            return error.problems
        }
        Issue.record("the plugins '\(list)' fit together")
        return []
    }

    func compose(_ list: String, registry: NameRegistry = .test) throws -> Composition {
        try Composition(PluginRequest.parseList(list), search: search, registry: registry)
    }

    /// Source of a plugin whose hooks are given as C code, with no settings and no instance.
    static func source(_ hooks: String, table: String) -> String {
        """
        #include <craft_plugin.h>
        \(hooks)
        static craft_hook hooks[] = {\(table)};
        static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.test", "1.0.0", "A test.",
            CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
        CRAFT_PLUGIN_ENTRY(plugin, hooks)
        """
    }

    /// A plugin with one hook that adds 1 to every input and gives the sum under `output`.
    static func sum(_ inputs: [String], _ output: String, point: String = "post_step") -> String {
        let list = inputs.enumerated().map { index, name in
            let isOptional = name.hasSuffix("?")
            return
                "X(\(isOptional ? "optional_f64" : "f64"), v\(index), \"\(isOptional ? String(name.dropLast()) : name)\", \"\")"
        }
        let terms = inputs.enumerated().map { $1.hasSuffix("?") ? "(v\($0) ? *v\($0) : 0)" : "v\($0)" }
        return source(
            """
            #define IN(X) \(list.joined(separator: " "))
            #define OUT(X) X(f64, total, "\(output)", "")
            CRAFT_HOOK(add, IN, OUT) { *total = \((["1"] + terms).joined(separator: " + ")); return CRAFT_OK; }
            """, table: "CRAFT_HOOK_ENTRY(\"\(point)\", add)")
    }
}

extension NameRegistry {
    /// Names of no particular meaning.
    static let test = NameRegistry([
        Entry("x", type: "f64", readable: Set(HookPoint.allCases), provider: .host, doc: "A number."),
        Entry("n", type: "i64", readable: Set(HookPoint.allCases), provider: .host, doc: "An integer."),
        Entry("matrix", type: "f64[r,c]", readable: [.preBackward], provider: .host, cost: .cheap, doc: "A matrix."),
        Entry("row", type: "f32[c]", readable: [.preBackward], provider: .host, doc: "A row of floats."),
        Entry("ids", type: "i64[r]", readable: [.preBackward], provider: .host, doc: "Integers."),
        Entry(
            "huge", type: "f32[n]", readable: [.gradientCombine], provider: .host, cost: .expensive,
            doc: "Costs a pass."),
        Entry(
            "chain", type: "f64[c]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .host,
            isChained: true, doc: "Read and produced in list order."),
        Entry(
            "out.{name}", type: "f64", readable: Set(HookPoint.allCases), producible: Set(HookPoint.allCases),
            provider: .plugin, doc: "A number from a plugin."),
        Entry(
            "like.{target}", type: "like {target}", readable: [.preBackward], producible: [.preBackward],
            provider: .plugin, doc: "An array shaped like another."),
        Entry(
            "count.{name}", type: "i64", readable: Set(HookPoint.allCases), producible: Set(HookPoint.allCases),
            provider: .plugin, doc: "An integer from a plugin."),
        Entry(
            "list.{name}", type: "i64[r]", producible: [.preBackward], provider: .plugin, doc: "Integers from a plugin."
        ),
        Entry(
            "gain.{name}", type: "f64", readable: Set(HookPoint.allCases), producible: [.plan, .postStep],
            provider: .host, requires: "out.{name}", doc: "Adapted from step to step."),
        Entry(
            "choice", type: "i64", producible: [.plan], provider: .plugin, isShared: true,
            doc: "Plugins must agree on it."),
    ])
}

/// An array that lives as long as the test needs it.
final class TestArray<Element> {
    private let buffer: UnsafeMutableBufferPointer<Element>
    private let shape: [Int]
    private let element: ElementType

    init(_ elements: [Element], shape: [Int]) {
        buffer = .allocate(capacity: max(elements.count, 1))
        _ = buffer.initialize(from: elements)
        self.shape = shape
        element = Element.self == Float.self ? .f32 : Element.self == Double.self ? .f64 : .i64
    }

    deinit { buffer.deallocate() }

    var view: ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(buffer.baseAddress!), element: element, shape: shape)
    }
}
