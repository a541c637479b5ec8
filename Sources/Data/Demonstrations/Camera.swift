/// One camera of a data set and the size of its stored images, in pixels, where the set says one.
package struct Camera: Codable, Equatable, Sendable {
    package let name: String
    package let height: Int?
    package let width: Int?

    package init(name: String, height: Int?, width: Int?) {
        self.name = name
        self.height = height
        self.width = width
    }
}
