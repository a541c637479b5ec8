internal import Tensors

/// A linear layer's parameters, with its low-rank update when there is one.
struct LinearLayer {
    let weight: Int
    let bias: Int?
    let update: LowRankUpdate?

    /// - `residual`: added to the result.
    func callAsFunction(_ x: Tensor, on run: ForwardRun, residual: Tensor? = nil) -> Tensor {
        run.tape.linear(x, weight: weight, bias: bias, residual: residual, update: run.usesAdapters ? update : nil)
    }
}

/// What the layers of one forward pass share.
struct ForwardRun {
    let tape: Tape
    /// Whether low-rank updates take part; without them the base model runs.
    let usesAdapters: Bool
}
