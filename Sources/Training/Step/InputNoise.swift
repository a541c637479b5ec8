internal import Formats
internal import Models

/// The random numbers of a step that are no data: drawn from the seed, the step and the micro-batch alone.
struct InputNoise {
    let seed: UInt64
    /// Probability, per sample, that the policy gets zeros in place of the proprioception, and in how many steps.
    let proprioDropout: Double
    let proprioDropoutSteps: Int?

    init(_ settings: StepSettings) {
        seed = settings.seed
        proprioDropout = settings.proprioDropout
        proprioDropoutSteps = settings.proprioDropoutSteps
    }

    /// The policy's training input, N(0, 0.02), the same for all samples of a micro-batch. A batch that has one keeps it.
    ///
    /// - Parameter stream: the data stream it is for; nil: the run's own batch.
    func fillPolicyInput(of input: inout ModelInput, count: Int, step: Int, micro: Int, stream: String? = nil) {
        guard let action = input.action, action.policyInput == nil else { return }
        var generator = generator("policy noise", stream, step, micro)
        input.action?.policyInput = (0..<count).map { _ in Float(generator.normal() * 0.02) }
    }

    /// Zeroes the proprioception of samples drawn with probability `proprioDropout`. Kept values are not scaled up, as those
    /// of dropped activations are: they are what the policy gets at inference.
    func dropProprioception(of input: inout ModelInput, width: Int, step: Int, micro: Int, stream: String? = nil) {
        guard proprioDropout > 0, step < proprioDropoutSteps ?? .max, input.action != nil else { return }
        var generator = generator("proprioception dropout", stream, step, micro)
        for sample in input.prompts.indices where generator.uniform() < proprioDropout {
            for index in sample * width..<(sample + 1) * width { input.action?.proprio[index] = 0 }
        }
    }

    private func generator(_ purpose: String, _ stream: String?, _ step: Int, _ micro: Int) -> RandomGenerator {
        let key = RandomGenerator.stream(stream.map { "\(purpose) of stream \($0)" } ?? purpose)
        return RandomGenerator(seed: seed, stream: key, UInt64(step), UInt64(micro))
    }
}
