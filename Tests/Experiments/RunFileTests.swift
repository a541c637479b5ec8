import Experiments
import Formats
import Foundation
import TestSupport
import Testing

/// A run's settings in YAML, as the flags that they stand for.
@Suite struct RunFileTests {
    private func arguments(_ yaml: String) throws -> [String] {
        let folder = try TemporaryFolder()
        try Data(yaml.utf8).write(to: URL(fileURLWithPath: folder.path("run.yaml")))
        return try RunFile.arguments(folder.path("run.yaml"))
    }

    @Test func settingsBecomeFlags() throws {
        let found = try arguments(
            """
            steps: 3
            batch_size: 2
            augment: false
            proprio: true
            questions: "true"
            cameras: [image, wrist_image]
            lr-scale: {vision: 0.1}
            plugins:
              - BaselineL1
              - AnchorVariants: {type: raw_only, pooling: none}
            set:
              AnchorVariants: {type: aq_only}
              AnchorVariants.pooling: mean
            """)
        #expect(
            found == [
                "--steps=3", "--batch-size=2", "--no-augment", "--proprio", "--questions=true", "--cameras",
                "image,wrist_image", "--lr-scale", "vision=0.1", "--plugins",
                "BaselineL1,AnchorVariants:pooling=none:type=raw_only", "--set", "AnchorVariants.type=aq_only", "--set",
                "AnchorVariants.pooling=mean",
            ])
    }

    @Test(arguments: [
        ("a: [", "not YAML"), ("- a", "expected settings"), ("plugins: {a: b}", "plugins is neither"),
        ("plugins: [{A: 1}]", "a plugin is a name"), ("set: 3", "set takes entries"),
    ])
    func whatIsNotARunIsRefused(_ yaml: String, _ words: String) throws {
        let error = try #require(throws: ExperimentError.self) { _ = try arguments(yaml) }
        #expect(error.code == .malformedFile && error.description.contains(words), "\(error)")
        #expect(error.description.contains("run.yaml: "))
    }

    @Test func aMissingFileIsNamed() throws {
        let error = try #require(throws: ExperimentError.self) { _ = try RunFile.arguments("/nowhere.yaml") }
        #expect(error.code == .missingFile && error.description.contains("/nowhere.yaml"))
    }
}
