import Foundation
import TestSupport
import Testing

extension HostTests {
    /// `craft plugins check` on plugins that use what they were not given, or no longer have.
    @Suite struct UndeclaredAccessTests {
        @Test(arguments: [
            ("undeclared", ["SIGSEGV", "byte 1 past the end of the declared arguments"]),
            ("stale", ["SIGSEGV", "it kept a pointer to input 'gram' of an earlier call and used it"]),
        ])
        func isCaught(_ name: String, _ words: [String]) throws {
            let folder = try TemporaryFolder()
            let root = BuildFolder.repository.path
            let library = folder.path("lib\(name).so")
            let build = try Command.run([
                "cc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden",
                "-I", "\(root)/Sources/PluginAPI/include", "\(root)/Tests/Host/BadPlugins/\(name).c", "-o", library,
            ])
            try #require(build.status == 0, "\(build.output)")
            let result = try CraftCommand.run(["plugins", "check", library, "--seed", "1"])
            #expect(result.status == 1)
            let bounds = result.standardOutput.components(separatedBy: "FAILED  bounds")
            #expect(bounds.count == 2, "\(result.output)")
            for word in words { #expect(bounds.last?.contains(word) == true, "\(result.output)") }
        }
    }
}
