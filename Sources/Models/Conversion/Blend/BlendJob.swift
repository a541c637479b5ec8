internal import Formats
internal import Kernels

/// The pieces of one tensor of a blend.
struct BlendJob {
    /// θ_0; the first tuned model's tensor where there is none.
    let base: BlendTensor
    let others: [BlendTensor]
    let storage: ModelFolder.Storage

    /// Stores a piece of the result at `target`.
    ///
    /// - Throws: when a value read is not finite, or one made is too large for the type it is stored as.
    func fill(
        _ range: Range<Int>, with arithmetic: inout BlendArithmetic, into target: UnsafeMutablePointer<Float>
    ) throws(FileError) {
        let count = range.count
        let memory = UnsafeMutablePointer<Float>.allocate(capacity: (others.count + 1) * count)
        defer { memory.deallocate() }
        try base.read(range, into: memory)
        var pointers: [UnsafeMutablePointer<Float>] = []
        for (index, other) in others.enumerated() {
            let place = memory + (index + 1) * count
            try other.read(range, into: place)
            pointers.append(place)
        }
        // A mean that the base takes part in.
        if case .mean(let weights) = arithmetic, weights.count > others.count { pointers.insert(memory, at: 0) }
        arithmetic.combine(base: memory, others: pointers, count: count, into: target)
        // The largest number of float16; bfloat16 reaches as far as float32.
        let largest: Float = storage == .f16 ? 65504 : .greatestFiniteMagnitude
        for i in 0..<count where !(abs(target[i]) <= largest) {
            throw FileError(
                path: others[0].file.path, .unwritable,
                "tensor '\(others[0].entry.name)': the blend has the value \(target[i]), which \(storage.rawValue) cannot hold; "
                    + "choose smaller factors or --dtype f32")
        }
    }

    /// What of a task vector stays.
    static func trim(_ tuned: BlendTensor, from base: BlendTensor, keeping count: Int) throws(FileError) -> Trim {
        let (total, piece) = (base.entry.count, 1 << 16)
        let memory = UnsafeMutablePointer<Float>.allocate(capacity: 2 * piece)
        defer { memory.deallocate() }
        return try Trim(keeping: count) { body throws(FileError) in
            for start in stride(from: 0, to: total, by: piece) {
                let range = start..<min(total, start + piece)
                try base.read(range, into: memory)
                try tuned.read(range, into: memory + piece)
                for i in 0..<range.count { body(abs(memory[piece + i] - memory[i])) }
            }
        }
    }
}
