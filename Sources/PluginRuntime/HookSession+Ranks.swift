/// Several processes that take a step together: each has run `pre_backward` hooks on micro-batches of its own, and all others
/// hooks run in every process with what all of them gave.
extension HookSession {
    /// What the micro-batches of one process gave.
    package struct BatchPart {
        package var microBatches: Int
        /// Sums of losses and metrics, in the order of the session's names; nil where no micro-batch gave any.
        package var sums: [Double?]
        /// By row: sums of the cotangents on the parameters' drift; empty where there are none.
        package var drift: [[Double]]
        /// What the last micro-batch left for later hooks to read.
        package var left: [LeftValue?]

        package init(microBatches: Int, sums: [Double?], drift: [[Double]], left: [LeftValue?]) {
            (self.microBatches, self.sums, self.drift, self.left) = (microBatches, sums, drift, left)
        }
    }

    /// A value as bytes.
    package struct LeftValue {
        package var element: ElementType
        /// nil: a number.
        package var shape: [Int]?
        package var bytes: [UInt8]

        package init(element: ElementType, shape: [Int]?, bytes: [UInt8]) {
            (self.element, self.shape, self.bytes) = (element, shape, bytes)
        }
    }

    private var summedNames: [ValueName] { names.map(\.loss) + microBatchMetrics.map(\.value) }

    /// What `pre_backward` hooks see or give and later ones, or the next step's, read, besides what is summed.
    private var leftNames: [ValueName] {
        let hooks = composition.plugins.flatMap(\.hooks)
        let late = Set(hooks.filter { $0.point > .preBackward }.flatMap(\.reads)).union(composition.previousReads)
        let early = Set(hooks.filter { $0.point == .preBackward }.flatMap { $0.provides + $0.reads })
        let summed = Set(summedNames.map(\.description))
        return late.intersection(early).subtracting(summed).sorted().map { ValueName($0) }
    }

    /// What this process's micro-batches gave, before ``closeBatch()``.
    package var batchPart: BatchPart {
        BatchPart(
            microBatches: microBatches, sums: summedNames.map { sums[$0] }, drift: driftSums,
            left: leftNames.map { values.value($0).map(LeftValue.init) })
    }

    /// Takes what all processes' micro-batches gave, in their order, for this step's.
    ///
    /// - Parameter last: the one that ran the step's last micro-batch.
    package func join(_ parts: [BatchPart], last: Int) {
        microBatches = parts.reduce(0) { $0 + $1.microBatches }
        for (index, name) in summedNames.enumerated() {
            let given = parts.compactMap { $0.sums[index] }
            sums[name] = given.isEmpty ? nil : given.reduce(0, +)
        }
        for row in driftSums.indices {
            let given = parts.map { $0.drift[row] }.filter { !$0.isEmpty }
            driftSums[row] = given.dropFirst().reduce(given.first ?? []) { zip($0, $1).map { $0 + $1 } }
        }
        for (name, value) in zip(leftNames, parts[last].left) {
            if let value { values.set(name, value.stored) } else if !values.isWithheld(name) { values.remove(name) }
        }
    }
}

extension HookSession.LeftValue {
    fileprivate init(_ value: ValueStore.Value) {
        switch value {
        case .f64(let number): self.init(element: .f64, shape: nil, bytes: withUnsafeBytes(of: number) { Array($0) })
        case .i64(let number): self.init(element: .i64, shape: nil, bytes: withUnsafeBytes(of: number) { Array($0) })
        case .array(let view):
            let bytes = UnsafeRawBufferPointer(start: view.pointer, count: view.count * view.element.size)
            self.init(element: view.element, shape: view.shape, bytes: Array(bytes))
        }
    }

    fileprivate var stored: ValueStore.Value {
        guard let shape else {
            return bytes.withUnsafeBytes {
                element == .f64 ? .f64($0.loadUnaligned(as: Double.self)) : .i64($0.loadUnaligned(as: Int64.self))
            }
        }
        let memory = OwnedBytes(bytes)
        return .array(ArrayView(pointer: memory.base, element: element, shape: shape, owner: memory))
    }
}

/// Aligned memory that lives as long as a view of it.
private final class OwnedBytes {
    let base: UnsafeMutableRawPointer

    init(_ bytes: [UInt8]) {
        base = .allocate(byteCount: max(bytes.count, 1), alignment: 64)
        bytes.withUnsafeBytes {
            base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: bytes.count)
        }
    }

    deinit { base.deallocate() }
}
