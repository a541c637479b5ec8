import PluginKit

/// What probes ask. Answers play no part: a prompt only has to lead through the text path as questions do.
enum Prompts {
    static let capacity = 128
    /// UTF-8 bytes of one prompt.
    static let width = 256

    /// Questions about anything a picture may show: what is not asked about is not held in place either.
    static let broad = [
        "What is in the picture?", "What is the main object here?", "What is this?", "Describe what you see.",
        "What color is it?", "Which color do you see most?", "What is the color of the background?",
        "Is anything here red?", "Is the object on the left blue?", "Are there two objects of the same color?",
        "What form does the object have?", "Is it round?", "Does it have corners?", "Is the largest thing a box?",
        "How many objects are there?", "Are there more than two things?", "Is there only one object?",
        "How big is the object?", "Which object is the smallest?", "Is it larger than the other one?",
        "Where is the object?", "Is it in the middle?", "What is on the right side?", "What is below the cup?",
        "What is next to the plate?", "Is something on top of the table?", "Which object is closest to the camera?",
        "What is the object made of?", "Is it made of wood?", "Is the surface smooth?", "What is behind it?",
        "Is there a robot arm?", "What is the gripper holding?", "Is the drawer open?", "Can this be picked up?",
        "What could someone do with this?", "What will happen next?", "Is a person in the picture?",
        "Is there an animal?", "Is this indoors?", "Does it contain a car?", "Is there any text to read?",
        "Is it empty?", "No triangle is shown, is that right?", "Is it not green?", "Which of them is different?",
        "What is missing?", "Are both images alike?",
    ]

    /// Prompts from a setting: `broad`, or texts separated by `|`.
    static func read(_ text: String) throws -> [String] {
        if text == "broad" { return broad }
        let prompts = text.split(separator: "|").map { item in
            String(item.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }.filter { !$0.isEmpty }
        guard !prompts.isEmpty else {
            throw PluginError("prompts is 'broad' or texts separated by '|'; '\(text)' has none")
        }
        guard prompts.count <= capacity else {
            throw PluginError("prompts lists \(prompts.count) texts, there is room for \(capacity)")
        }
        if let long = prompts.first(where: { $0.utf8.count > width }) {
            throw PluginError("a prompt may have \(width) bytes, this one has \(long.utf8.count): '\(long)'")
        }
        return prompts
    }
}
