"""Warrener: event-sourced distributed job control."""
