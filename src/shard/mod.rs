//! One core's share of the gateway: owns everything it touches.
