import Foundation
import Models
import TestSupport
import Testing
import Training

/// The text around an instruction, as the reference builds it.
@Suite struct PromptTests {
    private struct Case: Decodable {
        var text: String
        var lower: String
    }

    /// scripts/reference/lower_cases.py asked Python.
    @Test func lowerCaseIsPythons() throws {
        let data = try Data(contentsOf: BuildFolder.fixture("data/lower-cases.json"))
        for item in try JSONDecoder().decode([Case].self, from: data) {
            #expect(
                Array(item.text.pythonLowercased.unicodeScalars) == Array(item.lower.unicodeScalars), "\(item.text)")
        }
    }

    /// Nothing is removed: VLA-Adapter's prompts keep full stops and blanks.
    @Test func instructionsStayAsTheyAre() throws {
        let folder = try ModelFolder(path: BuildFolder.repository.appendingPathComponent("Assets/small-vlm").path)
        let encoder = try PromptEncoder(folder: folder)
        let plain = encoder.action("open the drawer")
        #expect(encoder.action("Open the DRAWER") == plain)
        for other in ["open the drawer.", " open the drawer", "open the drawer ", "open  the drawer"] {
            #expect(encoder.action(other) != plain, "'\(other)'")
        }
        #expect(encoder.action("open <image>the drawer") == plain)
    }
}
