import Foundation
import TestSupport
import Testing

extension HostTests {
    /// `craft plan`: what a list would do, before anything runs.
    @Suite struct PlanCommandTests {
        private func plan(_ plugins: String, _ more: [String] = []) throws -> Command.Result {
            try CraftCommand.run(["plan", "--plugins", plugins] + more)
        }

        @Test func blocksAreListedByName() throws {
            let result = try plan("BaselineL1,AnchorVariants,CRaFTProjection:scope=module")
            #expect(result.status == 0, "\(result.output)")
            let lines = result.standardOutput.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(lines.contains(["3", "action_queries", "queries", "-", "query", "3072"]), "\(result.output)")
            #expect(lines.contains { $0.dropFirst().starts(with: ["language_model", "decoder", "-", "mixed"]) })
            let many = try plan("BaselineL1,AnchorVariants,CRaFTProjection")
            #expect(many.standardOutput.contains("more; scope=layer or module has fewer"), "\(many.output)")
            #expect(!(try plan("BaselineL1").standardOutput.contains("Blocks\n")))
        }

        /// What step 0 cannot have is refused here.
        @Test func valuesThatARunNeverHasAreRefused() throws {
            CraftCommand.expectRefusal(
                try plan("BaselineL1,AnswerLoss"), "AnswerLoss", "answer_logits", "--stream NAME=questions:FOLDER")
            CraftCommand.expectRefusal(
                try plan("BaselineL1,AnchorVariants,UnbiasedConflict"), "gram_cross", "even --accumulation")
        }

        /// One pass under the initial weights serves every tap, and a route takes what it cuts out of the backward pass.
        @Test func costsAreThoseOfTheStep() throws {
            let anchors = try plan("BaselineL1,AnchorVariants:type=concat").standardOutput
            #expect(
                anchors.components(separatedBy: "a forward pass under the initial weights").count == 2, "\(anchors)")
            func backward(_ text: String) -> Double? {
                let line = text.split(separator: "\n").first { $0.contains("gradient of action") }
                return line?.split(separator: " ").compactMap { Double($0) }.last
            }
            let whole = try #require(backward(try plan("BaselineL1").standardOutput))
            let cut = try #require(
                backward(
                    try plan(
                        "BaselineL1,KnowledgeInsulation",
                        ["--set", "KnowledgeInsulation.groups=vision projector decoder queries"]
                    )
                    .standardOutput))
            #expect(cut < 0.5 * whole)
        }
    }
}
