import Foundation
import TestSupport
import Testing

/// Small plugins in C, compiled for a test of what the step gives to hooks and takes from them.
struct CompiledPlugin {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Compiles a plugin; returns its path, to be put into a plugin list.
    ///
    /// - Parameters:
    ///   - hooks: definitions with `CRAFT_HOOK`.
    ///   - table: rows of the hook table.
    ///   - settings: names of whole-number settings, in `self` in this order as `int64_t`.
    func build(_ name: String, _ hooks: String, table: String, settings: [String] = []) throws -> String {
        let rows = settings.map { "{\"\($0)\", CRAFT_I64, 0, \"0\", -1000, 1000, NULL, \"A number.\"}" }
        let source = """
            #include <craft_plugin.h>
            #include <math.h>
            #include <stdlib.h>
            #define SETTING(i) (((const int64_t *)self)[i])
            \(hooks)
            static int32_t create(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
                int64_t *values = calloc(settings->count + 1, sizeof(int64_t));
                uint32_t i;
                (void)host; (void)error;
                for (i = 0; i < settings->count; i++) values[i] = craft_setting_at(settings, i)->i64;
                *self = values;
                return CRAFT_OK;
            }
            static void destroy(void *self) { free(self); }
            static craft_hook hooks[] = {\(table)};
            \(rows.isEmpty ? "" : "static const craft_parameter parameters[] = {\(rows.joined(separator: ", "))};")
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.test", "1.0.0", "A test.",
                \(rows.isEmpty ? "CRAFT_NO_TABLE(craft_parameter)" : "CRAFT_TABLE(parameters)"), CRAFT_TABLE(hooks),
                create, destroy, NULL, NULL, NULL, NULL};
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """
        return try build(name, source: source)
    }

    /// Compiles a whole file.
    func build(_ name: String, source: String) throws -> String {
        let file = folder.path("\(name).c")
        try Data(source.utf8).write(to: URL(fileURLWithPath: file))
        let library = folder.path("lib\(name).so")
        let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path
        let result = try Command.run([
            "cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I",
            include, file, "-o", library, "-lm",
        ])
        try #require(result.status == 0, "\(result.output)")
        return library
    }
}
