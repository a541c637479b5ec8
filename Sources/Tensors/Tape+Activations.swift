internal import Kernels

private let elementGrain = 32_768

/// Elementwise nonlinearities, by the names that timm and transformers give them.
package enum ActivationFunction: String, Codable, Sendable, CaseIterable {
    /// With the exact Gaussian distribution function (Hendrycks & Gimpel 2016).
    case gelu
    /// GELU's approximation by tanh.
    case geluTanh = "gelu_tanh"
    /// x sigmoid(1.702 x), of the first CLIP models.
    case quickGELU = "quick_gelu"
    /// x sigmoid(x).
    case silu
    /// max(0, x).
    case relu

    /// a, b of x sigmoid(a x + b x^3); nil for the others.
    fileprivate var gate: (a: Float, b: Float)? {
        switch self {
        case .gelu, .relu: nil
        case .geluTanh: (1.5957691, 0.07135482)
        case .quickGELU: (1.702, 0)
        case .silu: (1, 0)
        }
    }
}

extension Tape {
    /// ``ActivationFunction/gelu``.
    package func gelu(_ x: Tensor) -> Tensor { activation(x, .gelu) }

    /// ``ActivationFunction/relu``.
    package func relu(_ x: Tensor) -> Tensor { activation(x, .relu) }

    package func activation(_ x: Tensor, _ kind: ActivationFunction) -> Tensor {
        measured("activation") {
            let y = makeTensor(rows: x.rows, columns: x.columns, needsGradient: x.needsGradient)
            parallel.ranges(x.count, grain: elementGrain) { range in
                let start = range.lowerBound
                switch kind {
                case .gelu: ck_gelu(x.values + start, range.count, y.values + start)
                case .relu: ck_relu(x.values + start, range.count, y.values + start)
                case .geluTanh, .quickGELU, .silu:
                    guard let (a, b) = kind.gate else { return }
                    ck_gated(x.values + start, range.count, a, b, y.values + start)
                }
            }
            record(Activation(output: y, x: x, kind: kind))
            return y
        }
    }

    /// SwiGLU (Shazeer 2020): `silu(gate) * up`, elementwise on tensors of one shape.
    package func swiGLU(gate: Tensor, up: Tensor) -> Tensor {
        measured("SwiGLU") {
            precondition(gate.count == up.count)
            let y = makeTensor(
                rows: gate.rows, columns: gate.columns, needsGradient: gate.needsGradient || up.needsGradient)
            parallel.ranges(y.count, grain: elementGrain) { range in
                let start = range.lowerBound
                ck_swiglu(gate.values + start, up.values + start, range.count, y.values + start)
            }
            record(SwiGLU(output: y, gate: gate, up: up))
            return y
        }
    }

    /// LayerScale residual (Touvron et al. 2021): `x + gamma * h`, with the parameter gamma [N] over rows of [M, N].
    package func layerScaleResidual(_ x: Tensor, _ h: Tensor, gamma: Int) -> Tensor {
        measured("layer scale") {
            precondition(x.rows == h.rows && x.columns == h.columns)
            let y = makeTensor(
                rows: x.rows, columns: x.columns,
                needsGradient: x.needsGradient || h.needsGradient || isTrainable(gamma))
            let n = x.columns
            parallel.ranges(x.rows, grain: max(1, elementGrain / max(1, n))) { rows in
                let start = rows.lowerBound * n
                ck_layer_scale(x.values + start, h.values + start, floats(gamma), rows.count, n, y.values + start)
            }
            record(LayerScale(output: y, x: x, h: h, gamma: gamma, values: floats(gamma)))
            return y
        }
    }

    /// `x + h` for tensors of one shape.
    package func add(_ x: Tensor, _ h: Tensor) -> Tensor {
        measured("add") {
            precondition(x.rows == h.rows && x.columns == h.columns)
            let y = makeTensor(
                rows: x.rows, columns: x.columns, needsGradient: x.needsGradient || h.needsGradient)
            parallel.ranges(y.count, grain: elementGrain) { range in
                let start = range.lowerBound
                ck_add(x.values + start, h.values + start, range.count, y.values + start)
            }
            record(Addition(output: y, x: x, h: h))
            return y
        }
    }
}

private struct Activation: Operation {
    let name: StaticString = "activation"
    let output: Tensor
    let x: Tensor
    let kind: ActivationFunction

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let active = pass.activeRows(of: output)
        let (dx, accumulate) = pass.gradient(of: x, within: active.span)
        let add: Int32 = accumulate ? 1 : 0
        let n = x.columns
        pass.parallel.ranges(active.count, grain: max(1, elementGrain / max(1, n))) { range in
            active.forEach(in: range) { rows, _ in
                let (start, count) = (rows.lowerBound * n, rows.count * n)
                switch kind {
                case .gelu: ck_gelu_backward(dy + start, x.values + start, count, dx + start, add)
                case .relu: ck_relu_backward(dy + start, output.values + start, count, dx + start, add)
                case .geluTanh, .quickGELU, .silu:
                    guard let (a, b) = kind.gate else { return }
                    ck_gated_backward(dy + start, x.values + start, count, a, b, dx + start, add)
                }
            }
        }
    }
}

private struct SwiGLU: Operation {
    let name: StaticString = "SwiGLU"
    let output: Tensor
    let gate: Tensor
    let up: Tensor

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let active = pass.activeRows(of: output)
        let (dGate, accumulateGate) = pass.gradient(of: gate, within: active.span)
        let (dUp, accumulateUp) = pass.gradient(of: up, within: active.span)
        // Gate and up are made for this operation alone; a second reader would need separate flags in the kernel.
        precondition(accumulateGate == accumulateUp, "gate and up of a SwiGLU are read elsewhere by one of them only")
        let n = output.columns
        pass.parallel.ranges(active.count, grain: max(1, elementGrain / max(1, n))) { range in
            active.forEach(in: range) { rows, _ in
                let start = rows.lowerBound * n
                ck_swiglu_backward(
                    dy + start, gate.values + start, up.values + start, rows.count * n, dGate + start, dUp + start,
                    accumulateGate ? 1 : 0)
            }
        }
    }
}

private struct LayerScale: Operation {
    let name: StaticString = "layer scale"
    let output: Tensor
    let x: Tensor
    let h: Tensor
    let gamma: Int
    let values: UnsafePointer<Float>

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = x.columns
        let scratch = h.needsGradient ? nil : pass.tape.pool.take(h.count)
        let target = scratch.map { ($0, false) } ?? pass.gradient(of: h)
        let (dh, accumulate) = (target.0, target.1)
        let dGamma = pass.parameterGradient(gamma)
        // Each chunk sums over its own rows first; the partial sums are added in a fixed order.
        let chunks = pass.parallel.chunkCount(x.rows, grain: max(1, elementGrain / max(1, n)))
        let partial = pass.tape.pool.take(chunks * n)
        pass.parallel.run(chunks: chunks) { chunk in
            let rows = Parallel.range(chunk, of: chunks, count: x.rows)
            let (start, sum) = (rows.lowerBound * n, partial + chunk * n)
            ck_fill(0, n, sum)
            ck_layer_scale_backward(
                dy + start, h.values + start, values, rows.count, n, dh + start, accumulate ? 1 : 0,
                dGamma == nil ? nil : sum)
        }
        if let dGamma { pass.parallel.once { ck_column_sum(partial, chunks, n, dGamma) } }
        pass.tape.pool.give(partial, count: chunks * n)
        if let scratch { pass.tape.pool.give(scratch, count: h.count) }
        pass.pass(output, to: x)
    }
}

private struct Addition: Operation {
    let name: StaticString = "add"
    let output: Tensor
    let x: Tensor
    let h: Tensor

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        if h.needsGradient {
            let (dh, accumulate) = pass.gradient(of: h)
            pass.parallel.ranges(h.count, grain: elementGrain) { range in
                let target = dh + range.lowerBound
                if accumulate {
                    ck_add(target, dy + range.lowerBound, range.count, target)
                } else {
                    target.update(from: dy + range.lowerBound, count: range.count)
                }
            }
        }
        pass.pass(output, to: x)
    }
}
