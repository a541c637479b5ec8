internal import Glibc
internal import Kernels

/// One named tensor of a model.
package struct Parameter: Sendable {
    /// Index in its ``ParameterSet``.
    package let id: Int
    /// Full name, as in the checkpoint.
    package let name: String
    /// Row-major shape; a matrix is [outputs, inputs].
    package let shape: [Int]
    /// Whether the optimizer may change it.
    package let isTrainable: Bool
    /// Whether it may stay in 16 bits while it is frozen: matrices of linear layers and embeddings.
    package let allowsHalf: Bool
    /// Start within the trainable storage, in values; 0 for a frozen one, which has storage of its own.
    package let offset: Int

    package var count: Int { shape.reduce(1, *) }
}

/// Where the values of a tensor are, row major.
package enum WeightValues: BitwiseCopyable {
    case float32(UnsafePointer<Float>)
    /// 16-bit values, widened where they are used.
    case half(HalfValues)
}

/// Values in one of the two 16-bit floating-point formats.
package struct HalfValues: BitwiseCopyable {
    package enum Format: Sendable, BitwiseCopyable { case bfloat16, float16 }
    package let pointer: UnsafePointer<UInt16>
    package let format: Format

    package init(_ pointer: UnsafePointer<UInt16>, _ format: Format) {
        self.pointer = pointer
        self.format = format
    }

    /// Converts `count` values from `offset` on.
    @inline(__always)
    func widen(_ offset: Int, _ count: Int, into target: UnsafeMutablePointer<Float>) {
        switch format {
        case .bfloat16: ck_bf16_to_f32(pointer + offset, count, target)
        case .float16: ck_f16_to_f32(pointer + offset, count, target)
        }
    }
}

/// The parameters of a model: trainable ones in one flat float32 buffer, frozen ones each where they are best kept.
///
/// Trainable tensors lie one after the other, in registration order. Gradients, moments and initial copies use the same
/// layout, so an optimizer block is a range of offsets. A frozen tensor is read in place from a mapped file, in the
/// file's precision, or has a float32 buffer. Buffers take memory only where they have been written.
package final class ParameterSet {
    private enum Frozen {
        case owned(FloatBuffer)
        case mapped(WeightValues, owner: AnyObject)
    }

    package private(set) var parameters: [Parameter] = []
    private var storage = FloatBuffer(count: 1)
    private var frozen: [Frozen?] = []
    package private(set) var trainableCount = 0
    private var index: [String: Int] = [:]
    private var isSealed = false

    package init() {}

    /// Values of trainable tensors, [``trainableCount``].
    package var trainable: UnsafeMutablePointer<Float> { storage.base }

    /// Declares a tensor. Storage is made by ``seal()``.
    package func declare(
        _ name: String, shape: [Int], trainable isTrainable: Bool, allowsHalf: Bool = false
    ) -> Int {
        precondition(!isSealed, "parameters are declared before storage is made")
        precondition(index[name] == nil, "parameter \(name) is declared twice")
        let parameter = Parameter(
            id: parameters.count, name: name, shape: shape, isTrainable: isTrainable, allowsHalf: allowsHalf,
            offset: isTrainable ? trainableCount : 0)
        // Each tensor starts on a cache line, so that vector loads of different tensors never share one.
        if isTrainable { trainableCount += (parameter.count + 15) & ~15 }
        parameters.append(parameter)
        index[name] = parameter.id
        return parameter.id
    }

    /// Makes zero-filled storage for everything trainable.
    package func seal() {
        precondition(!isSealed)
        isSealed = true
        storage = makeTrainableBuffer()
        frozen = Array(repeating: nil, count: parameters.count)
    }

    /// A zero-filled buffer with the layout of the trainable values, for gradients, moments and copies.
    package func makeTrainableBuffer() -> FloatBuffer { FloatBuffer(count: trainableCount) }

    package func id(of name: String) -> Int? { index[name] }

    package subscript(id: Int) -> Parameter { parameters[id] }

    /// Current float32 values of a tensor, to read or write; a frozen one gets a zero-filled buffer when it has none.
    ///
    /// Not for tensors that have been mapped: those are read-only and may be in 16 bits (``weight(_:)``).
    package func values(_ id: Int) -> UnsafeMutablePointer<Float> {
        let parameter = parameters[id]
        if parameter.isTrainable { return storage.base + parameter.offset }
        switch frozen[id] {
        case .owned(let buffer): return buffer.base
        case .mapped: preconditionFailure("\(parameter.name) is mapped from a file and cannot be written")
        case nil:
            let buffer = FloatBuffer(count: parameter.count)
            frozen[id] = .owned(buffer)
            return buffer.base
        }
    }

    /// Reads a frozen tensor in place from now on. `owner` keeps the memory alive.
    package func map(_ id: Int, to values: WeightValues, owner: AnyObject) {
        let parameter = parameters[id]
        precondition(!parameter.isTrainable, "\(parameter.name) is trainable and cannot be mapped")
        if case .half = values { precondition(parameter.allowsHalf, "\(parameter.name) is needed in float32") }
        frozen[id] = .mapped(values, owner: owner)
    }

    /// Whether a tensor is read in place from a file.
    package func isMapped(_ id: Int) -> Bool { if case .mapped = frozen[id] { true } else { false } }

    /// Where the current values of a tensor are.
    package func weight(_ id: Int) -> WeightValues {
        if !parameters[id].isTrainable, case .mapped(let values, _) = frozen[id] { return values }
        return .float32(values(id))
    }

    /// Where the current values of every tensor are, by id.
    package func currentWeights() -> [WeightValues] { parameters.map { weight($0.id) } }

    /// Copies a tensor's current values as float32, [count].
    package func copyValues(_ id: Int, into target: UnsafeMutablePointer<Float>) {
        let count = parameters[id].count
        switch weight(id) {
        case .float32(let pointer): target.update(from: pointer, count: count)
        case .half(let half): half.widen(0, count, into: target)
        }
    }

    /// Bytes of memory that hold the parameters, mapped files included.
    package var residentBytes: Int {
        parameters.reduce(0) { total, parameter in
            if !parameter.isTrainable, case .mapped(.half, _) = frozen[parameter.id] {
                return total + 2 * parameter.count
            }
            return total + 4 * parameter.count
        }
    }
}

/// The gradient of one objective: a sum over micro-batches, and which parameters it reached.
package final class GradientAccumulator {
    /// Values laid out as ``ParameterSet/trainable``.
    package let values: FloatBuffer
    /// Per parameter id: whether a backward pass came by since ``zero()``. A parameter that no objective reaches is left
    /// alone by the optimizer, weight decay included, as PyTorch leaves one whose gradient is None.
    package internal(set) var isReached: [Bool]
    private let parameters: ParameterSet

    package init(parameters: ParameterSet) {
        self.parameters = parameters
        values = parameters.makeTrainableBuffer()
        isReached = Array(repeating: false, count: parameters.parameters.count)
    }

    /// Forgets everything. Only what has been reached is written to, so that what never is takes no memory.
    package func zero() {
        for id in isReached.indices where isReached[id] {
            isReached[id] = false
            let parameter = parameters[id]
            ck_fill(0, parameter.count, values.base + parameter.offset)
        }
    }

    /// Counts these parameters as reached, by id, for a gradient that no backward pass brought.
    package func reach(_ ids: Set<Int>) { for id in ids { isReached[id] = true } }

    /// Counts as reached what any of `others` reached. The values are left as they are.
    package func reach(like others: [GradientAccumulator]) {
        for id in isReached.indices { isReached[id] = others.contains { $0.isReached[id] } }
    }
}

/// An owned, 64-byte aligned, zero-initialised float32 buffer. A large one takes memory only where it is written.
package final class FloatBuffer {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int
    private let mappedBytes: Int
    private static let mappingThreshold = 1 << 20

    package init(count: Int) {
        self.count = count
        let bytes = max(count, 16) * MemoryLayout<Float>.stride
        if bytes >= Self.mappingThreshold {
            let memory = mmap(
                nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            guard let memory, memory != MAP_FAILED else {
                stopOutOfMemory(bytes: bytes, for: "parameters, gradients or moments")
            }
            base = memory.assumingMemoryBound(to: Float.self)
            mappedBytes = bytes
        } else {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            memset(memory, 0, bytes)
            base = memory.assumingMemoryBound(to: Float.self)
            mappedBytes = 0
        }
    }

    deinit {
        if mappedBytes > 0 { munmap(base, mappedBytes) } else { base.deallocate() }
    }

    package func zero() { memset(base, 0, count * MemoryLayout<Float>.stride) }

    package func copy(from source: UnsafePointer<Float>) { base.update(from: source, count: count) }

    /// Sets a range to zero; a large buffer gives the memory of whole pages within it back.
    package func release(_ range: Range<Int>) {
        let page = sysconf(Int32(_SC_PAGESIZE)) / MemoryLayout<Float>.stride
        let first = (range.lowerBound + page - 1) / page * page
        let pages = first..<max(first, range.upperBound / page * page)
        guard mappedBytes > 0, !pages.isEmpty,
            madvise(base + pages.lowerBound, pages.count * MemoryLayout<Float>.stride, Int32(MADV_DONTNEED)) == 0
        else {
            (base + range.lowerBound).update(repeating: 0, count: range.count)
            return
        }
        (base + range.lowerBound).update(repeating: 0, count: pages.lowerBound - range.lowerBound)
        (base + pages.upperBound).update(repeating: 0, count: range.upperBound - pages.upperBound)
    }
}
