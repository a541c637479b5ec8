internal import Glibc
internal import Kernels

/// Which dimensions a rotary position embedding turns together.
package enum RotaryPairing: Sendable {
    /// c with c + d/2, as in Llama and Qwen2.
    case splitHalf
    /// 2i with 2i + 1.
    case interleaved
}

/// How the frequencies of rotary positions are stretched for longer texts than a model was trained on first.
package enum RotaryScaling: Equatable, Sendable {
    case none
    /// Positions divided by a factor.
    case linear(factor: Double)
    /// Llama 3.1: wavelengths above `original / low` are divided by `factor`, those below `original / high` kept, with a ramp
    /// between the two.
    case llama3(factor: Double, low: Double, high: Double, original: Double)

    package func scaled(_ frequency: Double) -> Double {
        switch self {
        case .none: return frequency
        case .linear(let factor): return frequency / factor
        case .llama3(let factor, let low, let high, let original):
            let turns = original * frequency / (2 * .pi)
            if turns < low { return frequency / factor }
            if turns > high { return frequency }
            let smooth = (turns - low) / (high - low)
            return (1 - smooth) * frequency / factor + smooth * frequency
        }
    }
}

/// Cosine and sine tables of a rotary position embedding (Su et al. 2021), [positions, headDim] each, in split-half
/// order: column c has the angle `position * base^(-2 (c mod d/2) / d)`, its frequency scaled.
///
/// With ``RotaryPairing/interleaved`` this is the table of VLA-Adapter's Pro policy, in which the two members of a pair
/// turn by different angles; released weights depend on it.
package struct RotaryTable: Sendable {
    let cosine: [Float]
    let sine: [Float]
    let headDim: Int

    package init(positions: Int, headDim: Int, base: Double, scaling: RotaryScaling = .none) {
        self.headDim = headDim
        var cosine = [Float](repeating: 0, count: positions * headDim)
        var sine = cosine
        for position in 0..<positions {
            for column in 0..<headDim {
                let exponent = -2 * Double(column % (headDim / 2)) / Double(headDim)
                let angle = Double(position) * scaling.scaled(pow(base, exponent))
                cosine[position * headDim + column] = Float(cos(angle))
                sine[position * headDim + column] = Float(sin(angle))
            }
        }
        self.cosine = cosine
        self.sine = sine
    }

    package var positions: Int { headDim == 0 ? 0 : cosine.count / headDim }
}

extension Tape {
    /// Turns the heads of `x` in place: row r holds heads of the table's width and stands at `positions[r]`.
    ///
    /// - `x`: [rows, heads * headDim], made by an operation whose backward pass does not read its own output.
    package func rotateInPlace(_ x: Tensor, table: RotaryTable, positions: ArenaList<Int32>, pairing: RotaryPairing) {
        measured("rotary") {
            precondition(positions.count == x.rows && x.columns % table.headDim == 0)
            precondition(
                positions.allSatisfy { $0 >= 0 && Int($0) < table.positions }, "a position is outside the table")
            let rotation = Rotation(output: x, table: table, positions: positions, pairing: pairing)
            rotation.apply(to: x.values, sign: 1, parallel)
            record(rotation)
        }
    }
}

private struct Rotation: Operation {
    let name: StaticString = "rotary"
    let output: Tensor
    let table: RotaryTable
    let positions: ArenaList<Int32>
    let pairing: RotaryPairing
    var ownsOutput: Bool { false }

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        apply(to: dy, sign: -1, pass.parallel)
    }

    func apply(to values: UnsafeMutablePointer<Float>, sign: Int32, _ parallel: Parallel) {
        let (n, d) = (output.columns, table.headDim)
        table.cosine.withUnsafeBufferPointer { cosine in
            table.sine.withUnsafeBufferPointer { sine in
                guard let cosine = cosine.baseAddress, let sine = sine.baseAddress else { return }
                parallel.ranges(output.rows, grain: max(1, 32_768 / n)) { rows in
                    let start = rows.lowerBound
                    let (first, position) = (values + start * n, positions.base + start)
                    switch pairing {
                    case .splitHalf:
                        ck_rope_split_half(first, rows.count, n, n / d, d, cosine, sine, position, sign)
                    case .interleaved:
                        ck_rope_interleaved(first, rows.count, n, n / d, d, cosine, sine, position, sign)
                    }
                }
            }
        }
    }
}
