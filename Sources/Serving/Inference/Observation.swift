/// What a policy is asked about: camera images, the robot's state, an instruction.
package struct Observation: Sendable {
    package enum Image: Sendable {
        /// A JPEG or PNG file.
        case encoded(ArraySlice<UInt8>)
        /// [height, width, 3] RGB.
        case pixels(ArraySlice<UInt8>, height: Int, width: Int)
    }

    /// One per camera, in the policy's order.
    package var images: [Image]
    /// [8], not normalised.
    package var state: [Float]
    package var instruction: String

    package init(images: [Image], state: [Float], instruction: String) {
        (self.images, self.state, self.instruction) = (images, state, instruction)
    }
}
