/// Who the blocks of the Gram matrices are, k of them.
package struct BlockFacts: Sendable {
    /// A block's name: of a tensor as checkpoints have it, of a layer or a module.
    package var names: [String]
    /// Trainable parameters in each block.
    package var numel: [Int64]
    /// Code of each block's parameter group; -1 where it has several.
    package var group: [Int64]
    /// Index of the transformer layer it belongs to, within its tower, decoder or policy; -1 outside of one.
    package var layer: [Int64]
    /// Code of what the tensor is; that for mixed where a block has several kinds.
    package var kind: [Int64]
    /// [k, 2]: rows and columns of a block that is one matrix, length and 1 of one vector, 0 and 0 of several tensors.
    package var shape: [Int64]

    package var count: Int { names.count }

    package init(
        names: [String], numel: [Int64], group: [Int64], layer: [Int64], kind: [Int64], shape: [Int64]
    ) {
        self.names = names
        self.numel = numel
        self.group = group
        self.layer = layer
        self.kind = kind
        self.shape = shape
    }

    /// Blocks of which only the sizes are known.
    package init(numel: [Int64]) {
        let none = numel.map { _ in Int64(-1) }
        self.init(
            names: numel.indices.map { "block \($0)" }, numel: numel, group: none, layer: none, kind: none,
            shape: numel.flatMap { [$0, 1] })
    }
}

extension ArrayView {
    /// An array that owns a copy of `elements`, row-major.
    package init<Element: BitwiseCopyable>(copying elements: [Element], as element: ElementType, shape: [Int]) {
        precondition(MemoryLayout<Element>.stride == element.size, "elements of the array's own size")
        self = SessionArray<Element>(element).view(of: elements, shape)
    }
}

/// Memory of the session behind an array that hooks read; it stays where it is while its size does.
package final class SessionArray<Element: BitwiseCopyable> {
    private var memory: UnsafeMutableBufferPointer<Element>
    private let element: ElementType

    package init(_ element: ElementType) {
        self.element = element
        memory = .allocate(capacity: 1)
    }

    deinit { memory.deallocate() }

    /// A view of the values, copied.
    package func view(of values: some Collection<Element>, _ shape: [Int]) -> ArrayView {
        if memory.count < values.count {
            memory.deallocate()
            memory = .allocate(capacity: values.count)
        }
        _ = memory.initialize(from: values)
        guard let start = memory.baseAddress else { preconditionFailure("allocated memory has an address") }
        return ArrayView(pointer: UnsafeMutableRawPointer(start), element: element, shape: shape, owner: self)
    }
}
