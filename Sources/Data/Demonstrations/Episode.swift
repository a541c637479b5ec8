/// One demonstration: what the trainer needs of it in memory. Its images stay with the store.
package struct Episode: Sendable {
    /// What the robot is asked to do, first step first; changes within an episode are rare.
    struct Instructions: Sendable {
        /// The texts, each with the step from which on it holds; the first is 0.
        var spans: [(start: Int, text: String)]

        subscript(step: Int) -> String { spans.last { $0.start <= step }?.text ?? "" }
    }

    let instructions: Instructions
    /// T, the number of steps.
    package let length: Int
    /// What it was made from, where the set says so.
    package let source: String?
    package let embodiment: Embodiment

    /// [T, actionWidth] row major, as policies are trained on them.
    package let actions: [Float]
    /// [T, stateWidth] row major.
    package let proprio: [Float]

    /// The instruction of the first step.
    package var instruction: String { instructions[0] }

    /// What the robot is asked to do at a step.
    package func instruction(at step: Int) -> String { instructions[step] }

    /// Whether any step has an instruction; without, the episode gives no samples.
    package var isLabelled: Bool { instructions.spans.contains { !$0.text.isEmpty } }
}
