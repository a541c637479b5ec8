import Foundation
import PluginRuntime
import TestSupport
import Testing

/// What becomes of a plugin's file after it was opened.
@Suite struct DetachedLibraryTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    /// Counts its calls in a global, adds what a table says, and tells its file's name when `x` is negative.
    private static let counting = CPlugin.source(
        """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        static const double table[600] = {[599] = 0.25};
        static double calls;
        static _Thread_local double seen = 2;
        #define IN(X) X(f64, x, "x", "")
        #define OUT(X) X(f64, y, "out.y", "")
        CRAFT_HOOK(count, IN, OUT) {
            Dl_info info;
            if (x < 0) return craft_fail(error, "%s", dladdr(table, &info) ? info.dli_fname : "nowhere");
            *y = ++calls + seen + table[599];
            return CRAFT_OK;
        }
        """, table: #"CRAFT_HOOK_ENTRY("post_step", count)"#)

    private func instance(_ path: String) throws -> PluginInstance {
        try PluginInstance(library: PluginLibrary(path: path), request: PluginRequest(name: path))
    }

    private func call(_ instance: PluginInstance, _ x: Double) throws -> Double? {
        let values = ValueStore()
        values.set("x", x)
        try instance.run(.postStep, values: values, step: 0)
        return values.double("out.y")
    }

    /// Writes into the file itself, as `cp` does; a linker or an editor would make a new one.
    private func overwrite(_ path: String, with data: Data) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: 0)
        try file.write(contentsOf: data)
        try file.close()
    }

    @Test func overwritingTheFileDoesNotReachTheLibrary() throws {
        let path = try plugins.build("Counting", "#define _GNU_SOURCE\n" + Self.counting)
        let counting = try instance(path)
        #expect(try call(counting, 1) == 3.25)
        try overwrite(path, with: Data())
        #expect(try call(counting, 1) == 4.25)
        try overwrite(path, with: Data(repeating: 0xcc, count: 1 << 16))
        #expect(try call(counting, 1) == 5.25)
        // Tools still find the library by its name.
        let failure = try #require(throws: PluginFailure.self) { try call(counting, -1) }
        #expect(failure.message == path)
    }

    /// The process has one library of a file; with other content it is no longer that one.
    @Test func aFileThatChangedIsNotTakenForTheOldOne() throws {
        let path = try plugins.build("Changing", CPlugin.sum(["x"], "out.y"))
        let first = try PluginLibrary(path: path)
        #expect(try PluginLibrary(path: path).sha256 == first.sha256)
        let other = try plugins.build("Other", CPlugin.sum(["x", "y"], "out.y"))
        try overwrite(path, with: Data(contentsOf: URL(fileURLWithPath: other)))
        let error = try #require(throws: PluginLoadError.self) { try PluginLibrary(path: path) }
        #expect(error.cause == .changed && error.description.contains("after this process opened it"), "\(error)")
    }

    /// A file that takes a deleted one's place on the disk is another library.
    @Test func aNewFileIsANewLibrary() throws {
        for count in 1...8 {
            let names = (1...count).map { "v\($0)" }
            let path = try plugins.build("Round\(count)", CPlugin.sum(names, "out.y"))
            let hook = try #require(try PluginLibrary(path: path).hooks.first)
            #expect(hook.signature.inputs.count == count)
            try FileManager.default.removeItem(atPath: path)
        }
    }

    /// Libraries beside a plugin are found as `$ORIGIN` says.
    @Test func librariesBesideThePluginAreFound() throws {
        let helper = plugins.folder.path("libthree.so")
        let source = plugins.folder.path("three.c")
        try Data("double three(void); double three(void) { return 3; }\n".utf8).write(
            to: URL(fileURLWithPath: source))
        #expect(try Command.run(["cc", "-shared", "-fPIC", source, "-o", helper]).status == 0)
        let text = CPlugin.source(
            """
            double three(void);
            #define IN(X) X(f64, x, "x", "")
            #define OUT(X) X(f64, y, "out.y", "")
            CRAFT_HOOK(add, IN, OUT) { *y = x + three(); return CRAFT_OK; }
            """, table: #"CRAFT_HOOK_ENTRY("post_step", add)"#)
        let file = plugins.folder.path("Needs.c")
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        let built = try Command.run([
            "cc", "-std=c99", "-fPIC", "-shared", "-I", CPlugin.include, file, "-o", plugins.path("Needs"), "-L",
            plugins.folder.url.path, "-lthree", "-Wl,-rpath,$ORIGIN",
        ])
        try #require(built.status == 0, "\(built.output)")
        #expect(try call(instance(plugins.path("Needs")), 1) == 4)
    }
}
