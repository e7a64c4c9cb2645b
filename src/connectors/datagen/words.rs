//! Names to make up data with.

/// First names.
pub const FIRST: &[&str] = &[
    "Ada", "Amir", "Anna", "Ben", "Carla", "Chen", "Dana", "David", "Elena", "Emil", "Fatima", "Felix", "Grace",
    "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lara", "Leo", "Lin", "Maria", "Max", "Mina", "Nora",
    "Omar", "Paul", "Priya", "Rosa", "Samir", "Sara", "Tom", "Uma", "Victor", "Wanda", "Yuki", "Zoe", "Zofia",
];

/// Last names.
pub const LAST: &[&str] = &[
    "Abe", "Almeida", "Andersen", "Bauer", "Berg", "Brown", "Costa", "Diaz", "Dubois", "Evans", "Fischer", "Garcia",
    "Haas", "Hansen", "Ito", "Jensen", "Jones", "Keller", "Khan", "Kim", "Kowalski", "Lee", "Lopez", "Meyer", "Mensah",
    "Moreau", "Nguyen", "Novak", "Okafor", "Patel", "Popov", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith",
    "Tanaka", "Wang", "Weber",
];

/// Cities.
pub const CITIES: &[&str] = &[
    "Accra", "Athens", "Bangkok", "Basel", "Berlin", "Bogota", "Boston", "Cairo", "Chicago", "Delhi", "Dublin",
    "Geneva", "Hamburg", "Hanoi", "Helsinki", "Istanbul", "Jakarta", "Kyoto", "Lagos", "Lima", "Lisbon", "London",
    "Madrid", "Milan", "Montreal", "Nairobi", "Oslo", "Paris", "Prague", "Quito", "Rome", "Seoul", "Sydney", "Tokyo",
    "Toronto", "Vienna", "Vilnius", "Warsaw", "Zagreb", "Zurich",
];

/// Companies that do not exist.
pub const COMPANIES: &[&str] = &[
    "Acorn Foods",
    "Alder Bank",
    "Amber Logistics",
    "Arcadia Media",
    "Aster Energy",
    "Basalt Mining",
    "Beacon Air",
    "Birch Insurance",
    "Cedar Pharma",
    "Cobalt Motors",
    "Comet Telecom",
    "Coral Travel",
    "Delta Optics",
    "Elm Systems",
    "Falcon Freight",
    "Fjord Seafood",
    "Granite Steel",
    "Harbor Capital",
    "Indigo Textiles",
    "Ivory Paper",
    "Juniper Labs",
    "Kestrel Robotics",
    "Lantern Books",
    "Larch Timber",
    "Maple Retail",
    "Meridian Rail",
    "Nimbus Cloud",
    "Oak Dairy",
    "Onyx Security",
    "Opal Cosmetics",
    "Pine Furniture",
    "Quartz Watches",
    "River Water",
    "Saffron Spices",
    "Slate Homes",
    "Solstice Solar",
    "Tidal Power",
    "Umber Games",
    "Willow Health",
    "Zephyr Wind",
];
