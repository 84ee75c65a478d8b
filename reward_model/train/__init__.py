from reward_model.errors import require

require("trl")
