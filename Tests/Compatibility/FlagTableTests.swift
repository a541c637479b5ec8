import Compatibility
import Foundation
import TestSupport
import Testing

/// The table of the original scripts' flags, beside the scripts and beside the guide.
@Suite struct FlagTableTests {
    struct Row {
        let name: String
        let type: String
        let standard: String
        let oftStandard: String?
    }

    /// The rows of a Markdown table of flags.
    static func rows(_ markdown: String) -> [String: Row] {
        let rows = markdown.split(separator: "\n").filter { $0.hasPrefix("| `--") }.map { line in
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let values = cells[2].matches(of: /`([^`]*)`/).map { String($0.1) }
            return Row(
                name: cells[0].filter { $0 != "`" }.replacing("--", with: ""), type: cells[1], standard: values[0],
                oftStandard: values.count > 1 ? values[1] : nil)
        }
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.name, $0) })
    }

    @Test(arguments: ["vla-adapter", "craft", "openvla-oft"])
    func everyFlagOfTheScriptIsKnownWithItsDefault(_ script: String) throws {
        let rows = Self.rows(FinetuneFlags.markdown)
        let file = BuildFolder.fixture("finetune/\(script).tsv")
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        #expect(lines.count > 30)
        for line in lines {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard let row = rows[fields[0]] else {
                Issue.record("--\(fields[0]) is missing")
                continue
            }
            let standard = script == "openvla-oft" ? row.oftStandard ?? row.standard : row.standard
            let isSame = standard == fields[2] || Double(standard).map { $0 == Double(fields[2]) } ?? false
            #expect(isSame, "--\(fields[0]): \(standard), the script has \(fields[2])")
            // VLA-Adapter calls the warm-up an int and gives it 0.1.
            let types = ["Path": "str", "Optional[str]": "str", "Optional[int]": "int"]
            let type = fields[0] == "lr_warmup_steps" ? "float" : types[fields[1]] ?? fields[1]
            #expect(row.type == type, "--\(fields[0])")
        }
    }

    @Test func theGuideHasTheTableOfTheCode() throws {
        let guide = try String(
            contentsOf: BuildFolder.repository.appendingPathComponent("docs/FINETUNE.md"), encoding: .utf8)
        let table = FinetuneFlags.markdown
        #expect(
            guide.contains(table), "docs/FINETUNE.md is not up to date: put in what craft finetune --flags prints")
    }
}
