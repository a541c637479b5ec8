internal import Glibc

/// One named tensor of a model.
public struct Parameter: Sendable {
    /// Index in its ``ParameterSet``.
    public let id: Int
    /// Full name, as in the checkpoint.
    public let name: String
    /// Row-major shape; a matrix is [outputs, inputs].
    public let shape: [Int]
    /// Whether the optimizer may change it.
    public let isTrainable: Bool
    /// Start within the set's trainable or frozen storage, in values.
    public let offset: Int

    public var count: Int { shape.reduce(1, *) }
}

/// The parameters of a model in two flat float32 buffers, trainable and frozen.
///
/// Trainable tensors lie one after the other in one buffer, in registration order. Gradients, moments and initial
/// copies use the same layout, so an optimizer block is a range of offsets.
public final class ParameterSet {
    public private(set) var parameters: [Parameter] = []
    /// Values of trainable tensors, [``trainableCount``].
    public private(set) var trainable: UnsafeMutablePointer<Float>
    private var frozen: UnsafeMutablePointer<Float>
    public private(set) var trainableCount = 0
    public private(set) var frozenCount = 0
    private var index: [String: Int] = [:]
    private var isSealed = false

    public init() {
        trainable = .allocate(capacity: 1)
        frozen = .allocate(capacity: 1)
    }

    deinit {
        trainable.deallocate()
        frozen.deallocate()
    }

    /// Declares a tensor. Storage is made by ``seal()``.
    public func declare(_ name: String, shape: [Int], trainable isTrainable: Bool) -> Int {
        precondition(!isSealed, "parameters are declared before storage is made")
        precondition(index[name] == nil, "parameter \(name) is declared twice")
        let parameter = Parameter(
            id: parameters.count, name: name, shape: shape, isTrainable: isTrainable,
            offset: isTrainable ? trainableCount : frozenCount)
        // Each tensor starts on a cache line, so that vector loads of different tensors never share one.
        let padded = (parameter.count + 15) & ~15
        if isTrainable { trainableCount += padded } else { frozenCount += padded }
        parameters.append(parameter)
        index[name] = parameter.id
        return parameter.id
    }

    /// Makes zero-filled storage for everything declared.
    public func seal() {
        precondition(!isSealed)
        isSealed = true
        trainable.deallocate()
        frozen.deallocate()
        trainable = Self.zeroed(trainableCount)
        frozen = Self.zeroed(frozenCount)
    }

    /// A zero-filled buffer with the layout of the trainable values, for gradients, moments and copies.
    public func makeTrainableBuffer() -> FloatBuffer { FloatBuffer(count: trainableCount) }

    public func id(of name: String) -> Int? { index[name] }

    public subscript(id: Int) -> Parameter { parameters[id] }

    /// Current values of a tensor.
    public func values(_ id: Int) -> UnsafeMutablePointer<Float> {
        let parameter = parameters[id]
        return (parameter.isTrainable ? trainable : frozen) + parameter.offset
    }

    /// Pointers to the current values of every tensor, by id.
    public func currentWeights() -> [UnsafePointer<Float>] { parameters.map { UnsafePointer(values($0.id)) } }

    static func zeroed(_ count: Int) -> UnsafeMutablePointer<Float> {
        let pointer = UnsafeMutableRawPointer.allocate(
            byteCount: max(count, 16) * MemoryLayout<Float>.stride, alignment: 64)
        memset(pointer, 0, max(count, 16) * MemoryLayout<Float>.stride)
        return pointer.assumingMemoryBound(to: Float.self)
    }
}

/// The gradient of one objective: a sum over micro-batches, and which parameters it reached.
public final class GradientAccumulator {
    /// Values laid out as ``ParameterSet/trainable``.
    public let values: FloatBuffer
    /// Per parameter id: whether a backward pass came by since ``zero()``. A parameter that no objective reaches is left
    /// alone by the optimizer, weight decay included, as PyTorch leaves one whose gradient is None.
    public internal(set) var isReached: [Bool]

    public init(parameters: ParameterSet) {
        values = parameters.makeTrainableBuffer()
        isReached = Array(repeating: false, count: parameters.parameters.count)
    }

    public func zero() {
        values.zero()
        for id in isReached.indices { isReached[id] = false }
    }
}

/// An owned, 64-byte aligned, zero-initialised float32 buffer.
public final class FloatBuffer {
    public let base: UnsafeMutablePointer<Float>
    public let count: Int

    public init(count: Int) {
        self.count = count
        base = ParameterSet.zeroed(count)
    }

    deinit { base.deallocate() }

    public func zero() { memset(base, 0, count * MemoryLayout<Float>.stride) }

    public func copy(from source: UnsafePointer<Float>) { base.update(from: source, count: count) }
}
