import ArgumentParser
import Formats
import Foundation
import PluginRuntime
import Training

extension Plugins {
    /// The registry of names.
    struct Names: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the names that hooks can read and give, with their types and points.")

        @Flag(help: "Print them as JSON.")
        var json = false

        /// A row as `Sources/PluginAPI/names.json` has it.
        // swift-format-ignore: AlwaysUseLowerCamelCase
        private struct Row: Encodable {
            var name: String
            var type: String
            var read_at: [String]
            var given_at: [String]
            var provider: String
            var requires: String?
            var after: String?
            var code: String?
            var hosts: [String]
            var chained: Bool?
            var shared: Bool?
            var cost: String
            var doc: String

            init(_ entry: NameRegistry.Entry) {
                name = entry.pattern.description
                type = entry.type
                read_at = entry.readable.sorted().map(\.rawValue)
                given_at = entry.producible.sorted().map(\.rawValue)
                provider = entry.provider.rawValue
                requires = entry.requires?.description
                after = entry.after?.description
                code = entry.code
                hosts = NameRegistry.Host.allCases.filter(entry.hosts.contains).map(\.rawValue)
                chained = entry.isChained ? true : nil
                shared = entry.isShared ? true : nil
                cost = entry.cost.rawValue
                doc = entry.doc
            }
        }

        private struct Document: Encodable {
            var abi: String
            var codes: [CodeTable]
            var names: [Row]
        }

        func run() throws {
            let rows = NameRegistry.training.entries.map(Row.init)
            if json {
                let document = Document(abi: PluginLibrary.hostABI, codes: CodeTable.all, names: rows)
                print(try JSONText.document(document))
                return
            }
            for row in rows {
                let read = row.read_at.isEmpty ? "" : "read at \(row.read_at.joined(separator: ", "))"
                let given = row.given_at.isEmpty ? "" : "given at \(row.given_at.joined(separator: ", "))"
                print("\(row.name): \(row.type)  (\([read, given].filter { !$0.isEmpty }.joined(separator: "; ")))")
                print("    \(row.doc)")
                if let codes = row.code.flatMap(CodeTable.named) { print("    \(codes.name): \(codes.valuesText)") }
                if row.hosts.count < NameRegistry.Host.allCases.count {
                    print("    hosts: \(row.hosts.joined(separator: ", "))")
                }
            }
        }
    }
}
