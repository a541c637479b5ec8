/// A list of plain values in the memory of a ``Tape``, valid as long as the tensors of its pass.
///
/// Passes describe rows, sequences and results in lists like this one, since arrays would go to the heap in every step. A
/// copy is the same list: append to one of them only.
package struct ArenaList<Element: BitwiseCopyable>: RandomAccessCollection {
    let base: UnsafeMutablePointer<Element>
    package private(set) var count: Int
    /// How many elements there is room for.
    package let capacity: Int

    init(base: UnsafeMutablePointer<Element>, capacity: Int) {
        self.base = base
        self.capacity = capacity
        count = 0
    }

    package var startIndex: Int { 0 }
    package var endIndex: Int { count }

    package subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count)
            return base[index]
        }
        nonmutating set {
            precondition(index >= 0 && index < count)
            base[index] = newValue
        }
    }

    package mutating func append(_ element: Element) {
        precondition(count < capacity, "a list of \(capacity) is full")
        base[count] = element
        count += 1
    }
}

extension Tape {
    /// An empty list with room for `capacity` elements.
    package func list<Element: BitwiseCopyable>(of: Element.Type = Element.self, capacity: Int) -> ArenaList<Element> {
        let bytes = capacity * MemoryLayout<Element>.stride
        let memory = UnsafeMutableRawPointer(listArena.allocate((bytes + 3) / MemoryLayout<Float>.stride))
        return ArenaList(base: memory.bindMemory(to: Element.self, capacity: capacity), capacity: capacity)
    }

    /// A list of `count` elements, made one by one.
    package func list<Element: BitwiseCopyable>(_ count: Int, _ element: (Int) -> Element) -> ArenaList<Element> {
        var list = list(of: Element.self, capacity: count)
        for index in 0..<count { list.append(element(index)) }
        return list
    }

    /// The elements of `elements`.
    package func list<Elements: Collection>(_ elements: Elements) -> ArenaList<Elements.Element>
    where Elements.Element: BitwiseCopyable {
        var list = list(of: Elements.Element.self, capacity: elements.count)
        for element in elements { list.append(element) }
        return list
    }
}
